"""Folders and files that exist only whole: written aside, hashed, flushed to the disk, then renamed. No torch here.

A kill at any moment leaves either the old or the new one, and at worst something named `.aside-*`, which `sweep` removes at the next
start. The reasons and the measurements behind the order of the steps are in docs/decisions/0004-whole-folders.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from safetensors import SafetensorError

from zoo.errors import CheckpointError, ConfigError, OutputError

MANIFEST = "manifest.json"
LARGE = 1 << 23
"""Bytes from which a file is hashed in a thread of its own."""
CHUNK = 1 << 22
"""Bytes that are read and hashed at once. Between two of them a thread that hashes may wait 5 ms for one that runs Python."""
_OLD = ".old-"
_ASIDE = re.compile(r"\.aside-(?P<name>.+)-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\d+", re.DOTALL)
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_FORGOTTEN = 86_400.0
"""Seconds after which what another machine was writing is taken for a killed writer's."""
_numbers = itertools.count()
_mine: set[Path] = set()
"""What this process is writing aside: another process may have had the same number."""

T = TypeVar("T")


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A name beside `target` that nobody else has; what is left under it in the end is removed."""
    path = target.with_name(f".aside-{_short(target.name)}-{_HOST}-{os.getpid()}-{next(_numbers)}").absolute()
    _mine.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _mine.discard(path)


def _short(name: str) -> str:
    """A name to which some more can be added: file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= 180 else hashlib.sha256(encoded).hexdigest()


@contextlib.contextmanager
def whole(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving, it becomes `target`, with a manifest of its files' sizes and sha256.

    Where the body raises, or anything cannot be written, nothing is left of it and `target` is as it was.
    Raises: OutputError if `target` exists (unless `replace`), or the disk refuses.
    """
    sweep(target.parent, target.name)
    if exists(target) and not replace:
        raise OutputError(f"{target} exists and is not overwritten; name another folder")
    try:
        with _aside(target) as aside:
            aside.mkdir(parents=True)
            yield aside
            _seal(aside)
            _put(aside, target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{target} cannot be written: {reason}") from error


def share(file: Path, target: Path) -> None:
    """Have a file under another name too, by a link, or as a copy where the file system has no links. Neither may be written to then.

    Raises: OSError.
    """
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)


def named(text: str | os.PathLike[str]) -> Path:
    """The path that a user names. Raises: ConfigError for an empty one, which pathlib takes for the working folder."""
    if os.fspath(text) == "":  # a variable of the shell that is not set, as a rule
        raise ConfigError("the name of a file or folder is empty; give one (`.` is the working folder)")
    return Path(text)


def expanded(text: str | os.PathLike[str]) -> Path:
    """As `named`, and what a user means by `~`. As it is where there is nobody of the name in `~name`, which pathlib makes a
    RuntimeError."""
    return Path(os.path.expanduser(named(text)))  # noqa: PTH111


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file. False, too, for what can be no path, or may not be looked at: pathlib would raise OSError."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """As `is_file`, of a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | os.PathLike[str]) -> bool:
    """As `is_file`, of anything."""
    return os.path.exists(path)  # noqa: PTH110


def special(path: str | os.PathLike[str]) -> str | None:
    """What this is, if it is neither a file nor a folder, and reading it may wait for ever: a pipe, a socket, a device."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return None
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((name for is_one, name in kinds.items() if is_one(mode)), None)


def _seal(folder: Path) -> None:
    """Write the manifest; make every file readable as the umask says (safetensors writes 0600) and flush it to the disk."""
    umask = os.umask(0)
    os.umask(umask)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    entries = {path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in files}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    for path in (*files, manifest):
        path.chmod(0o666 & ~umask)
        flush(path)
    for path in (*(child for child in folder.rglob("*") if child.is_dir()), folder):
        flush(path)


def _put(aside: Path, target: Path) -> None:
    old = target.parent / f"{_OLD}{target.name}"
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    aside.rename(target)
    flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def begin(target: Path, files: dict[str, str]) -> None:
    """Make a new folder that has these texts in it from its first moment, and will be written into later: it has no manifest.

    Raises: FileExistsError if `target` is there, though another process made it just now; OSError.
    """
    if target.exists():  # `.` and `/` too, beside which nothing can be written
        raise FileExistsError(target)
    sweep(target.parent, target.name)
    with _aside(target) as aside:
        aside.mkdir(parents=True)
        for name, text in files.items():
            (aside / name).write_text(text, encoding="utf-8")
            flush(aside / name)
        flush(aside)
        if target.exists() or target.is_symlink():
            raise FileExistsError(target)
        try:
            aside.rename(target)
        except OSError as error:  # a folder with files in it cannot be replaced
            raise FileExistsError(target) if target.exists() else error from error
        flush(target.parent)


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(parent: Path, name: str | None = None) -> None:
    """Clear what killed writers left in `parent`; a folder that was about to be replaced and lost its successor comes back.

    What a living process writes stays. name: only what was to become this file or folder: for a `parent` that is the user's.
    """
    try:
        present = sorted(path.name for path in os.scandir(parent))
    except OSError:  # not there, or not to be read: then there is nothing of ours
        return
    for one in present:
        match = _ASIDE.fullmatch(one)
        if match and (name is None or _short(name) == match["name"]) and not _is_written(parent.absolute() / one, match):
            _remove(parent / one)
    for old in (parent / one for one in present if one.startswith(_OLD) and name in (None, one.removeprefix(_OLD))):
        target = parent / old.name.removeprefix(_OLD)
        with contextlib.suppress(OSError):
            shutil.rmtree(old, ignore_errors=True) if target.exists() else old.rename(target)


def _is_written(path: Path, match: re.Match[str]) -> bool:
    """Whether somebody is still writing it. What another machine writes on a shared disk is told by its age."""
    process = int(match["process"])
    if match["host"] != _HOST:
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < _FORGOTTEN
        return True
    if process == os.getpid():
        return path in _mine
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder so that a kill leaves all of it, or none that anybody takes for it."""
    with _aside(folder) as aside, contextlib.suppress(OSError):
        folder.rename(aside)


def verify(folder: Path, needed: Collection[str] = (), *, ignored: Callable[[str], bool] = lambda name: False) -> dict[str, Any]:
    """The manifest of a folder whose files all have the size and sha256 it states.

    Args:
        needed: files that it must list.
        ignored: which of its files need not be as they were, nor be there.

    Raises: CheckpointError naming the first file that is missing, damaged or, though needed, not listed.
    """
    with verifying(folder, needed, ignored=ignored) as entries:
        return entries


@contextlib.contextmanager
def verifying(
    folder: Path, needed: Collection[str] = (), *, ignored: Callable[[str], bool] = lambda name: False
) -> Iterator[dict[str, Any]]:
    """As `verify`, but the large files are hashed while something is done in here, such as reading them: it counts only if leaving does
    not raise. What fails in here because a file is damaged is told as that."""
    if not is_folder(folder):
        raise CheckpointError(f"{folder}: no such folder")
    entries = _manifest(folder / MANIFEST)
    if unlisted := [name for name in needed if name not in entries]:
        raise CheckpointError(f"{folder / MANIFEST}: it does not list {unlisted[0]}; use another copy of the folder")
    files = [(folder / name, entry) for name, entry in entries.items() if not ignored(name)]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        large = [pool.submit(_verify_file, *one) for one in files if _size(one[0]) >= LARGE]
        for one in files:
            if _size(one[0]) < LARGE:
                _verify_file(*one)
        failed = None
        try:
            yield entries
        except Exception as error:
            failed = error
        for hashed in large:
            hashed.result()
        if failed is not None:
            raise failed


def _size(file: Path) -> int:
    """Of a file, if there is one."""
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0


def _verify_file(file: Path, entry: Mapping[str, Any]) -> None:
    """Raises: CheckpointError if a file is not as its manifest says."""
    try:
        same = file.stat().st_size == entry["size"] and sha256(file) == entry["sha256"]
    except FileNotFoundError:
        raise CheckpointError(f"{file}: missing; use another copy of the folder") from None
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror or error}") from error
    if not same:
        raise CheckpointError(f"{file}: damaged, its sha256 is not the one in {MANIFEST}; use another copy of the folder")


def relist(folder: Path, name: str) -> None:
    """Have the manifest list a file as it is now: somebody who may has changed it. Raises: CheckpointError, OutputError."""
    entries, file = _manifest(folder / MANIFEST), folder / name
    entries[name] = {"size": file.stat().st_size, "sha256": sha256(file)}
    write_text(folder / MANIFEST, json.dumps(entries, indent=1))


def _manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a manifest, each the name of a file below its folder. Raises: CheckpointError."""
    try:
        entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        names = [PurePosixPath(name) for name, entry in entries.items() if (entry["size"], entry["sha256"])]
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent}: it has no {MANIFEST}, so nobody can tell whether it is as it was written; use another copy, with it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a manifest; use another copy of the folder") from error
    if not names or any(name.is_absolute() or ".." in name.parts for name in names):
        raise CheckpointError(f"{path}: not a manifest of the files beside it; use another copy of the folder")
    return entries


def read_whole(
    folder: Path, read: Callable[[], T], needed: Collection[str], ignored: Callable[[str], bool] = lambda name: False
) -> T:
    """What `read` makes of the folder's files, which were as `verify` wants them, and the same files before and after.

    Where another folder was put in its place meanwhile (a run in training has a new best), that one is read.
    Raises: CheckpointError; whatever `read` raises.
    """
    for _ in range(5):
        before = _identity(folder)
        try:
            with verifying(folder, needed, ignored=ignored):
                found = read()
        except CheckpointError:
            if _identity(folder) == before:
                raise
            continue
        if _identity(folder) == before:
            return found
    raise CheckpointError(f"{folder}: it changed while it was read, again and again; try once more when nobody writes there")


def _identity(folder: Path) -> list[tuple[str, int, int, int]]:
    """Which files there are, told by their numbers on the disk, sizes and times."""
    found = []
    with contextlib.suppress(OSError):  # it is being replaced
        for path in (folder, *sorted(folder.iterdir())):
            state = path.stat()
            found.append((path.name, state.st_ino, state.st_size, state.st_mtime_ns))
    return found


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(CHUNK, max(1, path.stat().st_size))))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, of a text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace one file so that a kill leaves the old or the new one. Raises: OutputError."""
    try:
        with _aside(path) as aside:
            aside.write_bytes(content)
            flush(aside)
            aside.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
