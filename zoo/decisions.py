"""What was decided by measuring, once: kept in the cache, and taken from there by every later run. No torch here.

CACHE/decisions/<digest of the facts>/
    facts.json       what it was decided for: the machine, versions of libraries, the network, ...
    decision.json    the options that were settled, and what was measured

Two measurements of the same are never quite alike, and results may depend on what is chosen by them in their last bits. So the first
process decides, under a lock, and equal runs at its side or after it do the same. Without a cache each run decides for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache as remembered
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo import cache, folders
from zoo.config import build
from zoo.errors import OutputError, ZooError
from zoo.options import Scalar

log = logging.getLogger("zoo")

KIND = "decisions"
"""The cache's folder of them, as `zoo cache clear` names it."""
DECISION = "decision.json"


@dataclass(frozen=True)
class Decision:
    """Options that were settled, and why."""

    options: Mapping[str, Scalar]
    """By leaf name."""
    why: str
    """For people, in one line: what was measured."""
    lasting: bool = True
    """Whether later runs are to do the same; False where something failed that may be well again."""


def once(root: Path | None, facts: Mapping[str, Any], settles: Collection[str], decide: Callable[[], Decision]) -> Decision:
    """What was decided for these facts; else what `decide` decides, which is kept if it is lasting. Others who ask
    for the same wait for it.

    root: of the cache; None: nothing is kept.
    settles: the options that are settled; a kept decision of others is none.
    """
    path = cache.folder(root, KIND, facts)
    if path is None:
        return decide()
    found = _read(path / DECISION, settles)
    if found is None:
        with _deciding(path):
            found = _read(path / DECISION, settles, say=True)
            if found is None:
                found = decide()
                if found.lasting:
                    _write(path / DECISION, found)
    return found


def known(root: Path | None, facts: Mapping[str, Any], settles: Collection[str]) -> Decision | None:
    """What was decided for these facts, if it was. The arguments are those of `once`."""
    return None if root is None else _read(cache.at(root, KIND, facts) / DECISION, settles)


def keep(root: Path | None, facts: Mapping[str, Any], decision: Decision) -> bool:
    """Have later runs do the same; whether that could be written."""
    path = cache.folder(root, KIND, facts)
    return path is not None and _write(path / DECISION, decision)


def machine(libraries: Iterable[str]) -> dict[str, Any]:
    """The facts of this machine that measurements depend on, and the versions of these packages (None: not installed)."""
    return {"processor": _processor(), "cores": os.cpu_count(), "versions": {name: _version(name) for name in libraries}}


def size(samples: int) -> int:
    """The order of magnitude of a number of samples, as a power of ten: within one, measurements are not repeated."""
    return int(10 ** math.floor(math.log10(max(1, samples))))


def _read(file: Path, settles: Collection[str], say: bool = False) -> Decision | None:
    """A decision; None where there is none, or (and `say` says so) none that can be read."""
    try:
        text = file.read_text(encoding="utf-8")
        kept = json.loads(text)
        found = Decision(dict(kept["options"]), str(kept["why"]))
        build(found.options)
        if text != _text(found) or found.options.keys() != set(settles):
            raise ValueError("not as it was written")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ZooError):
        if say:
            log.warning("%s: not a decision; it is made anew", file)
        return None


def _write(file: Path, decision: Decision) -> bool:
    try:
        folders.write_text(file, _text(decision))
    except OutputError:  # the cache costs time, and never a run
        return False
    return True


def _text(decision: Decision) -> str:
    """The file, with a digest of what it says: a number in which one bit changed would be another decision."""
    said = {"options": dict(decision.options), "why": decision.why}
    return json.dumps(said | {"sha256": hashlib.sha256(json.dumps(said).encode()).hexdigest()}, indent=1)


@contextlib.contextmanager
def _deciding(path: Path) -> Iterator[None]:
    """Hold the lock of the folder, which is not removed meanwhile; where there are no locks, go on without."""
    lock = FileLock(path / cache.LOCK, thread_local=False)
    with contextlib.suppress(OSError, NotImplementedError):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("another process is measuring the same; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@remembered
def _processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
