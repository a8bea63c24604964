"""What is in a cache, as a whole: listed, verified, cleared, kept below a size."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo import folders
from zoo.cache import claims, shards
from zoo.cache.places import FACTS, read_facts
from zoo.errors import CheckpointError, ConfigError

log = logging.getLogger("zoo")

_NAME = re.compile(f"[0-9a-f]{{32}}({claims.REMOVED}[0-9a-f]{{32}})?")
"""Of a folder of the cache, or of one that a killed process was removing."""


@dataclass(frozen=True)
class Entry:
    """One folder of the cache, described."""

    path: Path
    kind: str
    facts: dict[str, Any]
    """Empty where they are damaged or gone."""
    rows: int
    bytes: int
    used: float
    """When it was last asked for, in seconds since 1970."""


def entries(root: Path) -> list[Entry]:
    """Everything in a cache, what was used last first."""
    found = [_describe(path) for path in _folders(root)]
    return sorted((entry for entry in found if entry), key=lambda entry: -entry.used)


def _folders(root: Path) -> Iterator[Path]:
    return (path for path in root.glob("*/*") if _NAME.fullmatch(path.name) and path.is_dir())


def _describe(path: Path) -> Entry | None:
    try:
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        used = ((path / FACTS) if (path / FACTS).exists() else path).stat().st_mtime
        rows = sum(_count(file) for file in path.glob(f"*{shards.SUFFIX}"))
    except OSError:  # another process is removing it
        return None
    return Entry(path, path.parent.name, read_facts(path) or {}, rows, sum(sizes), used)


def _count(file: Path) -> int:
    try:
        return len(np.load(file, mmap_mode="r", allow_pickle=False))
    except Exception:  # of a damaged header, numpy raises anything
        return 0


def verify(root: Path) -> list[Path]:
    """Remove what is `damaged`, and give what that was: it will be computed again."""
    found = damaged(root)
    for file in found:
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
    return found


def damaged(root: Path) -> list[Path]:
    """The files and folders whose bytes are not those they were written with."""
    return [file for path in _folders(root) for file in _damaged(path)]


def _damaged(path: Path) -> Iterator[Path]:
    for file in sorted(path.iterdir()):
        if (shards.is_shard(file) and folders.sha256(file) != file.stem) or (file.name == FACTS and read_facts(path) is None):
            yield file
        elif file.is_dir() and not file.name.startswith("."):
            try:
                folders.verify(file)
            except CheckpointError:
                yield file


def clear(root: Path, kind: str | None = None, older_than_days: float = 0.0) -> list[Entry]:
    """Remove what is of a kind (or everything) and has not been used for so many days; gives what was removed.

    Raises: ConfigError if there is nothing of that kind.
    """
    for place in root.glob("*/"):
        folders.sweep(place)
    everything = entries(root)
    kinds = sorted({entry.kind for entry in everything})
    if kind is not None and kind not in kinds:
        raise ConfigError(f"{root}: nothing of the kind {kind!r}; there is: {', '.join(kinds) or 'nothing at all'}")
    before = time.time() - 86_400 * older_than_days
    return [entry for entry in everything if kind in (None, entry.kind) and entry.used <= before and claims.remove(entry.path)]


def trim(root: Path, limit: int, spare: Iterable[Path] = ()) -> None:
    """Remove what was used longest ago until no more than `limit` bytes are left; what is in `spare`, or being written, stays."""
    kept, left = set(spare), entries(root)
    total = sum(entry.bytes for entry in left)
    while total > limit and left:
        entry = left.pop()
        if entry.path not in kept and claims.remove(entry.path):
            log.info("cache: removed %s, unused for the longest, to stay below %.1f GB", entry.path, limit / 1e9)
            total -= entry.bytes
