"""What was computed once, on the disk: rows of numbers by the digest of what each was computed from. No torch here.

CACHE/<kind>/<digest of the facts>/
    facts.json        everything that the rows depend on beside their keys: weights, preprocessing, engine, ...
    <sha256>.npy      shards: records of (key, row), named by the digest of their bytes

A shard is written aside and renamed, so there are no torn reads, a reader needs no lock, and a kill loses the shard at hand alone. Whoever
computes holds the space's lock, so that nothing is computed twice by processes side by side. Any part may be deleted at any time:
it is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import mmap
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from zoo import folders
from zoo.errors import ConfigError, OutputError

log = logging.getLogger("zoo")

FACTS = "facts.json"
KEY = np.dtype("S64")
"""A key: a sha256 in hexadecimal, or another text of at most 64 bytes."""
OFF = "off"
"""How the option `cache` says that nothing is to be kept."""

Keys = NDArray[np.bytes_]
Integers = NDArray[np.int64]


def place(option: str | None) -> Path | None:
    """The folder that the option `cache` means; None for `off`. Empty: $ZOO_CACHE, else zoo/ in the user's cache folder."""
    if option == OFF:
        return None
    if option is not None:
        return Path(option).expanduser()
    own = os.environ.get("ZOO_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zoo"


def folder(root: Path, kind: str, facts: Mapping[str, Any]) -> Path:
    """The folder of one kind of thing with these facts, made and marked as used now. Raises: OutputError."""
    text = json.dumps(facts, sort_keys=True, indent=1)
    path = root / kind / hashlib.sha256(text.encode()).hexdigest()[:32]
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / FACTS).is_file():
            os.utime(path / FACTS)
        else:
            folders.write_text(path / FACTS, text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; give another --cache, or --cache off") from error
    return path


class Space:
    """Rows of one shape and type, which one function computed, by key."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        """
        Args:
            path: an existing folder.
            shape: of a row.
            dtype: of its numbers, as numpy spells it.
        """
        self.path = path
        self.record = np.dtype([("key", KEY), ("row", dtype, shape)])
        self._shards: dict[str, Any] = {}
        self._keys: dict[str, Keys] = {}
        self._order: Keys = np.empty(0, KEY)
        self._places: NDArray[np.int64] = np.empty((0, 2), np.int64)
        self.refresh()

    def __len__(self) -> int:
        """Number of different keys."""
        return len(self._order)

    def refresh(self) -> None:
        """Take in the shards that were written since."""
        for path in sorted(self.path.glob("*.npy")):
            if path.name not in self._shards:
                shard = _open(path, self.record)
                if shard is not None:
                    # Reading the keys touches every page; another map is read and let go, so that memory does not grow with the rows.
                    self._keys[path.name] = np.load(path, mmap_mode="r", allow_pickle=False)["key"].copy()
                    self._shards[path.name] = shard
        shards = list(self._shards.values())
        keys = np.concatenate([np.empty(0, KEY), *self._keys.values()])
        places = [np.stack([np.full(len(shard), number), np.arange(len(shard))], axis=1) for number, shard in enumerate(shards)]
        self._order, first = np.unique(keys, return_index=True)
        self._places = np.concatenate([np.empty((0, 2), np.int64), *places])[first]

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """`[n]`: whether there is a row for each key."""
        if not len(self._order):
            return np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._order, keys), len(self._order) - 1)
        return np.asarray(self._order[at] == keys)

    def missing(self, keys: Keys) -> Integers:
        """Where in `keys` the first of each is that has no row, ascending."""
        unique, first = np.unique(keys, return_index=True)
        return np.sort(first[~self.has(unique)]).astype(np.int64)

    def append(self, keys: Keys, rows: NDArray[Any]) -> None:
        """Write one shard. Raises: OutputError."""
        records = np.empty(len(keys), self.record)
        records["key"], records["row"] = keys, rows
        stream = io.BytesIO()
        np.save(stream, records, allow_pickle=False)
        content = stream.getbuffer()
        self.path.mkdir(parents=True, exist_ok=True)  # another process may have made room
        folders.write_bytes(self.path / f"{hashlib.sha256(content).hexdigest()}.npy", content)

    def rows(self, keys: Keys) -> Rows:
        """The rows of these keys, in their order. Raises: KeyError if one is missing."""
        if not self.has(keys).all():
            raise KeyError(f"{self.path}: no row for some keys")
        return Rows(list(self._shards.values()), self._places[np.searchsorted(self._order, keys)], self.record["row"])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of those who compute; what others wrote meanwhile has been taken in."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("another process is computing the same; waiting for it")
            lock.acquire()
        try:
            self.refresh()
            yield
        finally:
            lock.release()


class Shards(contextlib.AbstractContextManager["Shards"]):
    """Collects rows and appends them to a space, a shard at a time; on leaving, however that comes, what is left too.

    A shard is closed after a tenth of the time so far, within bounds: little is lost to a kill, and shards stay few.
    """

    SECONDS = (0.5, 10.0)
    BYTES = 16 << 20

    def __init__(self, space: Space) -> None:
        self._space = space
        self._began = self._last = time.perf_counter()
        self._waiting: list[tuple[Keys, NDArray[Any]]] = []

    def add(self, keys: Keys, rows: NDArray[Any]) -> None:
        """Add rows `[n, ...]`. Raises: OutputError."""
        self._waiting.append((keys, rows))
        now = time.perf_counter()
        patience = min(max(0.1 * (now - self._began), self.SECONDS[0]), self.SECONDS[1])
        if now - self._last > patience or sum(one.nbytes for _, one in self._waiting) > self.BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            keys, rows = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._space.append(keys, rows)
            self._waiting, self._last = [], time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._flush()


class Rows:
    """Rows in an order of one's own, read from the disk when they are asked for: `rows[3:7]`, `rows[[5, 1]]`, `len(rows)`."""

    def __init__(self, shards: list[Any], places: NDArray[np.int64], row: np.dtype[Any]) -> None:
        self._shards, self._places = shards, places
        self.shape: tuple[int, ...] = (len(places), *row.shape)
        self.dtype = row.base

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, which: slice | Integers) -> NDArray[Any]:
        """`[n, ...]`, a copy."""
        places = self._places[which]
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        for number in np.unique(places[:, 0]):
            mine = places[:, 0] == number
            found[mine] = self._shards[number]["row"][places[mine, 1]]
        return found

    def read(self) -> NDArray[Any]:
        """All of them, `[N, ...]`, in memory; the disk's copy does not stay there beside it."""
        found = self[:]
        for shard in self._shards:
            if hasattr(shard._mmap, "madvise"):  # not on Windows
                shard._mmap.madvise(mmap.MADV_DONTNEED)
        return found


def _open(path: Path, record: np.dtype[Any]) -> Any:
    """A shard's records, mapped; None (and a word) for a file that is none."""
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
        if shard.dtype == record and shard.ndim == 1:
            return shard
        reason = f"it has records of another kind, {shard.dtype}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
    log.warning("%s: left out of the cache: %s", path, reason)
    return None


@dataclass(frozen=True)
class Entry:
    """One folder of the cache, described."""

    path: Path
    kind: str
    facts: dict[str, Any]
    rows: int
    bytes: int
    used: float
    """When it was last asked for, in seconds since 1970."""


def entries(root: Path) -> list[Entry]:
    """Everything in a cache, what was used last first."""
    found = [_describe(path.parent) for path in root.glob(f"*/*/{FACTS}")]
    return sorted((entry for entry in found if entry), key=lambda entry: -entry.used)


def _describe(path: Path) -> Entry | None:
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        used = (path / FACTS).stat().st_mtime
    except (OSError, ValueError):  # another process is removing it
        return None
    rows = sum(_count(file) for file in path.glob("*.npy"))
    return Entry(path, path.parent.name, facts, rows, sum(sizes), used)


def _count(file: Path) -> int:
    try:
        return len(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError):
        return 0


def verify(root: Path) -> list[Path]:
    """The shards whose bytes are not those they were written with; each is removed, and will be computed again."""
    damaged = [file for file in sorted(root.glob("*/*/*.npy")) if folders.sha256(file) != file.stem]
    for file in damaged:
        file.unlink(missing_ok=True)
    return damaged


def clear(root: Path, kind: str | None = None, older_than_days: float = 0.0) -> list[Entry]:
    """Remove what is of a kind (or everything) and has not been used for so many days; gives what was removed.

    Raises: ConfigError if there is nothing of that kind.
    """
    everything = entries(root)
    kinds = sorted({entry.kind for entry in everything})
    if kind is not None and kind not in kinds:
        raise ConfigError(f"{root}: nothing of the kind {kind!r}; there is: {', '.join(kinds) or 'nothing at all'}")
    before = time.time() - 86_400 * older_than_days
    return [entry for entry in everything if kind in (None, entry.kind) and entry.used <= before and _remove(entry)]


def trim(root: Path, limit: int, spare: Iterable[Path] = ()) -> None:
    """Remove what was used longest ago until no more than `limit` bytes are left; what is in `spare`, or being written, stays."""
    kept, left = set(spare), entries(root)
    total = sum(entry.bytes for entry in left)
    while total > limit and left:
        entry = left.pop()
        if entry.path not in kept and _remove(entry):
            log.info("cache: removed %s, unused for the longest, to stay below %.1f GB", entry.path, limit / 1e9)
            total -= entry.bytes


def _remove(entry: Entry) -> bool:
    """Remove a folder that nobody is writing into."""
    try:
        with FileLock(entry.path / ".lock", blocking=False):
            shutil.rmtree(entry.path, ignore_errors=True)
    except (Timeout, OSError):
        return False
    return not (entry.path / FACTS).exists()
