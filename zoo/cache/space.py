"""Rows of one shape and type, by key: found, computed once by whoever needs them first, and read from the disk."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.cache import shards
from zoo.cache.claims import KEY, Claims, Keys
from zoo.cache.places import is_gone, make, passing, warn_once
from zoo.cache.shards import Damaged, Shard
from zoo.errors import OutputError

log = logging.getLogger("zoo")

Integers = NDArray[np.int64]

_WAIT, _LOOK = 1.0, 0.1
"""Seconds to wait for others before looking whether they still live, and between two looks at what they have computed."""

_beside: dict[Path, Path] = {}
"""Where this process keeps what a folder of the cache does not take."""


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
        self._claims = Claims(path)
        self._others: set[Path] = set()
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._shards: dict[Path, Shard] = {}
        self._passed_over: set[Path] = set()
        self._waited = False
        self._order: Keys | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For a process that is not forked: what is mapped is mapped there again."""
        return {"path": self.path, "record": self.record, "_claims": self._claims, "_others": {*self._others, *self._folders}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
        self.refresh()

    def __len__(self) -> int:
        """Number of different keys, of shards that need not be verified yet."""
        return len(self._index()[0])

    @property
    def _folders(self) -> list[Path]:
        own = [_beside[self.path]] if self.path in _beside else []
        return [self.path, *own, *sorted(self._others)]

    def add_folders(self, paths: list[Path]) -> None:
        """Other folders to read from: what other processes keep beside."""
        self._others |= set(paths)

    @property
    def beside(self) -> Path | None:
        """Where this process keeps what the folder did not take."""
        return _beside.get(self.path)

    def refresh(self) -> bool:
        """Take in the shards that were written since; whether there are any."""
        before = len(self._shards)
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError):  # another process removes the folder at this moment
                for path in sorted(folder.glob(f"*{shards.SUFFIX}")):
                    if path not in self._shards and path not in self._passed_over:
                        self._open(path)
        return len(self._shards) != before

    def _open(self, path: Path) -> None:
        try:
            self._add(Shard(path, self.record))
        except FileNotFoundError:
            return
        except OSError as error:
            self._passed_over.add(path)
            log.warning("%s: left out of the cache: %s", path, error.strerror)
        except Damaged as error:
            if shards.is_shard(path):
                self._discard([path])
            else:
                self._passed_over.add(path)
                log.warning("%s: left out of the cache: %s", path, error)

    def _add(self, shard: Shard) -> None:
        self._shards[shard.path], self._order = shard, None

    def _index(self) -> tuple[Keys, Integers]:
        """All keys, sorted, and for each the number of its shard and its place in that."""
        if self._order is None:
            lengths = [len(shard.keys) for shard in self._shards.values()]
            keys = np.concatenate([np.empty(0, KEY), *(shard.keys for shard in self._shards.values())])
            places = [np.stack([np.full(length, number), np.arange(length)], axis=1) for number, length in enumerate(lengths)]
            self._order, first = np.unique(keys, return_index=True)
            self._places: Integers = np.concatenate([np.empty((0, 2), np.int64), *places])[first]
        return self._order, self._places

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """`[n]`: whether there is a row for each key, in a shard that is as it was written."""
        while True:
            order, places = self._index()
            if not len(order):
                return np.zeros(len(keys), np.bool_)
            at = np.minimum(np.searchsorted(order, keys), len(order) - 1)
            found = np.asarray(order[at] == keys)
            if not self._drop_damaged(np.unique(places[at[found], 0])):
                return found

    def _drop_damaged(self, numbers: Integers) -> bool:
        """Verify shards that were not yet; whether any was damaged, and is gone."""
        mapped = list(self._shards.values())
        fresh = [mapped[number] for number in numbers if not mapped[number].is_verified]
        if not fresh:
            return False
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            damaged = [shard.path for shard, whole in zip(fresh, pool.map(Shard.verify, fresh), strict=True) if not whole]
        if damaged:
            for path in damaged:
                del self._shards[path]
            self._order = None
            self._discard(damaged)
        return bool(damaged)

    def _discard(self, damaged: list[Path]) -> None:
        """Remove shards whose bytes are not those that they are named by."""
        self._passed_over |= {path for path in damaged if not _removed(path)}
        what = "a shard is damaged" if len(damaged) == 1 else f"{len(damaged)} shards are damaged"
        log.warning("cache: %s (%s); what was in it is computed again", what, damaged[0])

    def missing(self, keys: Keys) -> Integers:
        """Where in `keys` the first of each is that has no row, ascending."""
        unique, first = np.unique(keys, return_index=True)
        return np.sort(first[~self.has(unique)]).astype(np.int64)

    def append(self, keys: Keys, rows: NDArray[Any]) -> None:
        """Write one shard; into a passing folder, with a warning, where the cache does not take it. Raises: OutputError."""
        records = np.empty(len(keys), self.record)
        records["key"], records["row"] = keys, rows
        shard = self._write(records)
        self._passed_over.discard(shard.path)
        self._add(shard)

    def _write(self, records: NDArray[Any]) -> Shard:
        again = True
        while self.path not in _beside:
            try:
                make(self.path)  # somebody may have removed it
                return shards.write(self.path, records)
            except (OSError, OutputError) as error:
                if is_gone(error) and again:
                    again = False
                    continue
                _beside[self.path] = passing()
                warn_once(f"{getattr(error, 'strerror', None) or error}: what is computed is kept for this command alone")
        return shards.write(_beside[self.path], records)

    def rows(self, keys: Keys) -> Rows:
        """The rows of these keys, in their order. Raises: KeyError if one is missing."""
        if not self.has(keys).all():
            raise KeyError(f"{self.path}: no row for some keys")
        order, places = self._index()
        return Rows(list(self._shards.values()), places[np.searchsorted(order, keys)], self.record["row"])

    @contextlib.contextmanager
    def claim(self, keys: Keys) -> Iterator[Integers | None]:
        """Where in `keys` the rows are that this process shall compute, while the context lasts; None if all rows are there.

        It is empty if others are computing all that is missing; they were waited for, for a moment, and one asks again.
        """
        self.refresh()
        self.has(keys)  # verifies before others are kept waiting
        mine: Integers = np.empty(0, np.int64)
        lacking = 0

        def choose(others: Keys) -> Keys:
            nonlocal mine, lacking
            self.refresh()
            missing = self.missing(keys)
            lacking, mine = len(missing), missing[~np.isin(keys[missing], others)] if len(others) else missing
            return np.asarray(keys[mine])

        with self._claims.make(choose):
            if lacking and not len(mine):
                lacking = self._await(keys)
            yield mine if lacking else None

    def _await(self, keys: Keys) -> int:
        """Wait a while for what others are computing; how many are still missing."""
        if not self._waited:
            log.info("another process is computing the same; waiting for it")
            self._waited = True
        until, left = time.monotonic() + _WAIT, len(self.missing(keys))
        while left and time.monotonic() < until:
            time.sleep(_LOOK)
            left = len(self.missing(keys)) if self.refresh() else left
        return left

    def fill(self, keys: Keys, compute: Callable[[Integers], None]) -> int:
        """Have a row for every key: `compute` appends those at the places it is given. How many were computed here.

        Raises: what `compute` raises; OutputError if what was written cannot be read.
        """
        count = 0
        while True:
            with self.claim(keys) as mine:
                if mine is None:
                    return count
                if len(mine):
                    compute(mine)
                    self.check_written(keys[mine])
                count += len(mine)

    def check_written(self, keys: Keys) -> None:
        """Raises: OutputError if none of these, which were just computed, can be read."""
        self.refresh()
        if not self.has(keys).any():
            raise OutputError(f"{self.path}: what was just written cannot be read; give another --cache, or --cache off")


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


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

    def __init__(self, mapped: list[Shard], places: NDArray[np.int64], row: np.dtype[Any]) -> None:
        self._shards, self._places = mapped, places
        self.shape: tuple[int, ...] = (len(places), *row.shape)
        self.dtype = row.base

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, which: slice | Integers) -> NDArray[Any]:
        """`[n, ...]`, a copy. Raises: RunFailed if a shard was changed on the disk meanwhile."""
        places = self._places[which]
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        for number in np.unique(places[:, 0]):
            mine = places[:, 0] == number
            found[mine] = self._shards[number].take(places[mine, 1])
        return found

    def read(self) -> NDArray[Any]:
        """All of them, `[N, ...]`, in memory; the disk's copy does not stay there beside it."""
        found = self[:]
        for shard in self._shards:
            shard.let_go()
        return found
