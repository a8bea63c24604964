"""Where what was computed once lies: the cache's folders, and folders that pass with their process where there is no cache."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo import folders
from zoo.errors import OutputError

log = logging.getLogger("zoo")

FACTS = "facts.json"
LOCK = ".lock"
OFF = "off"
"""How the option `cache` says that nothing is to be kept."""
_PASSING, _ALIVE = "zoo-passing-", ".alive"
_TRIES = 50
"""Times that a folder is made which others remove at the same moment."""

_USER = getattr(os, "getuid", lambda: 0)  # Windows has no such numbers, and says 0

_said: set[str] = set()
_texts: dict[Path, str] = {}
"""The facts of each folder that this process works in, from which it is made again if somebody removes it."""
_passing: dict[Path, FileLock] = {}


def warn_once(text: str) -> None:
    """Say something at most once in a process: a cache that cannot be used is met at every step."""
    if text not in _said:
        _said.add(text)
        log.warning("%s", text)


def place(option: str | None) -> Path | None:
    """The folder that the option `cache` means; None for `off`. Empty: $ZOO_CACHE, else zoo/ in the user's cache folder, if he has one."""
    if option == OFF:
        return None
    own = option or os.environ.get("ZOO_CACHE")
    found = folders.expanded(own) if own else folders.expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "zoo"
    if found.parts[:1] and found.parts[0].startswith("~"):  # nobody knows whose home that is
        warn_once(f"no home folder is known for {own or 'the cache'}: nothing is kept for other runs; give --cache DIR")
        return None
    return found


def asked_for(option: str | None) -> Path | None:
    """As `place`, for the start of a job: a folder that was named is made. Raises: OutputError if it cannot be."""
    found = place(option)
    if option is not None and found is not None:
        try:
            found.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"--cache {option}: the folder cannot be made: {error.strerror}; give another --cache, or --cache off"
            ) from error
    return found


def folder(root: Path | None, kind: str, facts: Mapping[str, Any]) -> Path | None:
    """The folder of one kind of thing with these facts, made and marked as used now.

    None without a cache, and, with a warning, where the cache cannot be written (a folder that is there already can be read).
    """
    if root is None:
        return None
    path = at(root, kind, facts)
    _texts[path] = _text(facts)
    try:
        make(path)
    except (OSError, OutputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        warn_once(f"the cache {root} cannot be written ({reason}): what it lacks is computed and kept for this command alone")
        return path if read_facts(path) is not None else None
    return path


def at(root: Path, kind: str, facts: Mapping[str, Any]) -> Path:
    """Where the folder with these facts is, if it is there."""
    return root / kind / hashlib.sha256(_text(facts).encode()).hexdigest()[:32]


def make(path: Path) -> None:
    """Have a folder with its facts in it, if they are known, though another process may be removing it. Raises: OSError, OutputError."""
    if path not in _texts and (facts := read_facts(path)) is not None:
        _texts[path] = _text(facts)
    for left in reversed(range(_TRIES)):
        try:
            if path not in _texts:
                path.mkdir(parents=True, exist_ok=True)
            elif path.exists():
                _have(path / FACTS, _texts[path])
            else:  # with its facts from its first moment: one that clears all the time would come between
                folders.begin(path, {FACTS: _texts[path]})
            return
        except (OSError, OutputError) as error:
            made = isinstance(error, FileExistsError) and path.is_dir()  # by another process, just now
            if not ((made or is_gone(error)) and left):
                raise


def is_gone(error: Exception) -> bool:
    """Whether something could not be done because a folder was removed at that moment."""
    return isinstance(error.__cause__ if isinstance(error, OutputError) else error, FileNotFoundError)


def _have(file: Path, text: str) -> None:
    """Mark facts as used now; write them where they are missing or damaged."""
    found = file.read_text(encoding="utf-8", errors="replace") if file.exists() else None
    if found == text:
        os.utime(file)
        return
    if found is not None:
        log.warning("%s: damaged; written anew", file)
    folders.write_text(file, text)


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, indent=1)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts of a folder of the cache; None where they are not there, or not those that it is named by."""
    with contextlib.suppress(OSError, ValueError):
        content = (path / FACTS).read_bytes()
        if hashlib.sha256(content).hexdigest()[:32] == path.name:
            facts = json.loads(content)
            return facts if isinstance(facts, dict) else None
    return None


def passing() -> Path:
    """A new folder that goes with this process, and is cleared by the next one if this one is killed. Raises: OutputError."""
    sweep()
    try:
        while True:
            path = Path(tempfile.mkdtemp(prefix=_PASSING))
            lock = FileLock(path / _ALIVE, thread_local=False)
            with contextlib.suppress(FileNotFoundError):  # another process took it for a killed one's
                lock.acquire()
                _passing[path] = lock
                return path
    except OSError as error:
        where = tempfile.gettempdir()
        raise OutputError(f"{where} cannot be written: {error.strerror}; make room, or set TMPDIR to another folder") from error


def release(path: Path) -> None:
    """Remove a passing folder."""
    lock = _passing.pop(path, None)
    if lock is not None:
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def sweep() -> None:
    """Remove the passing folders of this user's processes that were killed: nobody holds their locks."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PASSING}*"):
        with contextlib.suppress(OSError, Timeout):
            if path not in _passing and path.stat().st_uid == _USER():
                with FileLock(path / _ALIVE, blocking=False):
                    shutil.rmtree(path, ignore_errors=True)


def _release_all(process: int = os.getpid()) -> None:
    if os.getpid() == process:  # not in one that was forked
        for path in list(_passing):
            release(path)


atexit.register(_release_all)
