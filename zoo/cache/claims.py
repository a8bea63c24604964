"""Who is computing what: keys that a living process has claimed in a folder of the cache.

A claim is a file of keys that is locked for as long as its process lives and works on them; of one that was killed, the system lets the
lock go. To look at the claims and to make one is a single step, under the folder's own lock, which nobody holds for longer. So no key is
claimed twice, other keys wait for nobody, and as nobody waits for others while holding a claim, there is no deadlock. A folder in
which there is a claim is not removed.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from zoo import folders
from zoo.cache.places import LOCK, make
from zoo.errors import OutputError

KEY = np.dtype("S64")
"""A key: a sha256 in hexadecimal, or another text of at most 64 bytes."""
Keys = NDArray[np.bytes_]

REMOVED = "-removed-"
"""In the name of a folder that is going."""
_CLAIM = ".claim-"
_SECONDS = 2.0
"""How long it may take to see whether somebody is at work in a folder that is to be removed."""


class Claims:
    """The claims in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def make(self, choose: Callable[[Keys], Keys]) -> Iterator[None]:
        """Claim keys while the context lasts: `choose` picks them, and is told what others have claimed.

        Where nothing can be written, nothing is claimed: neither can others keep there what they compute.
        """
        mark = self.path / f"{_CLAIM}{uuid.uuid4().hex}"
        own = FileLock(mark, thread_local=False)
        try:
            with self._looking():
                mine = choose(self._living())
                own.acquire()
                mark.write_bytes(mine.astype(KEY).tobytes())
        except (OSError, OutputError):
            choose(np.empty(0, KEY))
        try:
            yield
        finally:
            if own.is_locked:
                with contextlib.suppress(OSError):
                    mark.unlink(missing_ok=True)
                own.release()

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        while True:
            make(self.path)
            lock = FileLock(self.path / LOCK, thread_local=False)
            with contextlib.suppress(FileNotFoundError):  # it was removed at that moment
                lock.acquire()
                break
        try:
            folders.sweep(self.path)
            yield
        finally:
            lock.release()

    def _living(self) -> Keys:
        """Under the folder's lock. What killed processes claimed goes."""
        found = [np.empty(0, KEY)]
        for mark in self.path.glob(f"{_CLAIM}*"):
            try:
                with FileLock(mark, blocking=False):
                    mark.unlink(missing_ok=True)
            except Timeout:
                content = mark.read_bytes() if mark.exists() else b""
                found.append(np.frombuffer(content[: len(content) // KEY.itemsize * KEY.itemsize], KEY))
        return np.concatenate(found)


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold one thing in a folder, which is not removed meanwhile; another process that wants the same waits. Raises: OSError."""
    with contextlib.suppress(OutputError):
        make(path)
    mark = path / f"{_CLAIM}{what}"
    with FileLock(mark, thread_local=False):
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def remove(path: Path) -> bool:
    """Remove a folder of the cache that nobody is working in."""
    try:
        with FileLock(path / LOCK, timeout=_SECONDS):
            for mark in path.glob(f"{_CLAIM}*"):
                with FileLock(mark, blocking=False):
                    pass
            leaving = path.with_name(f"{path.name[:32]}{REMOVED}{uuid.uuid4().hex}")
            path.rename(leaving)  # at once: others make theirs anew, and find nothing half removed
            shutil.rmtree(leaving, ignore_errors=True)
    except (Timeout, OSError):
        return False
    return not leaving.exists()
