"""Locks between processes: of a run that is being trained, of a file that is being written. No torch here.

The system's own lock on a small file (flock(2)): it is gone with the process that holds it, however that ends. A forked child, such as a
worker that reads samples, gives up its share at once, or it would keep the lock alive after its parent; what is started by exec has
none, unless it is handed over (`pass_fds`, then `keep`). The file says which process holds it, and is removed with the lock.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import OutputError

log = logging.getLogger("zoo")

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system says that has no locks."""
_held: set[int] = set()
"""Descriptors of the locks of this process."""


@contextlib.contextmanager
def alone(path: Path, doing: str) -> Iterator[int | None]:
    """Hold the lock file `path` while in here. Gives its descriptor, for processes that are to hold it too; None where there are no locks.

    doing: what it is the lock of, for the message: `runs/x is being trained`.

    Raises: OutputError naming the process that holds it, or if it cannot be made.
    """
    descriptor = _take(path, doing)
    try:
        yield descriptor
    finally:
        if descriptor in _held:  # not in a forked child
            with contextlib.suppress(OSError):  # a folder that became read-only: what is left there is not locked
                path.unlink(missing_ok=True)
            _held.discard(descriptor)
            os.close(descriptor)


def keep(descriptor: int) -> None:
    """In a process that a lock was handed to: hold it until this process ends, and hand it to no child."""
    os.set_inheritable(descriptor, False)
    _held.add(descriptor)


def _take(path: Path, doing: str) -> int | None:
    """The locked file, open."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, descriptor)
            if not _lock(path, descriptor, doing):
                return None
            if _is(path, descriptor):  # else whoever held it removed it since it was opened
                with contextlib.suppress(OSError):  # a full disk: it is locked all the same
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                _held.add(descriptor)
                undo.pop_all()
                return descriptor


def _lock(path: Path, descriptor: int, doing: str) -> bool:
    """Lock an open file; False where there are no locks. Raises: OutputError if another process holds it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "that has just begun"
        raise OutputError(f"{doing} by process {holder}; wait until it has ended, or stop it") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise OutputError(f"{path} cannot be locked: {error.strerror}") from error
        log.warning("%s: this file system has no locks; let no other process write there", path)
        return False
    return True


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _give_up() -> None:
    """In a forked child. To unlock there would unlock it for the parent, too."""
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up)
