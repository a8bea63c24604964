"""Files that were read and decoded before need not be again: what was found, by name, size, time of change and inode.

As git and rsync do, a file is taken to be unchanged while these are. One that changed within the last two seconds is not
remembered, since it could change again within the same tick of the disk's clock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zoo import cache
from zoo.cache import KEY, Space
from zoo.data.pictures import Checked
from zoo.errors import DataError

log = logging.getLogger("zoo")

_RECORD = np.dtype([("sha256", "S64"), ("width", "<u4"), ("height", "<u4"), ("animated", "u1")])
_MANY = 2000
"""Files from which reading takes seconds, and is announced."""
_SETTLED = 2.0
"""Seconds that a file must have rested."""

Check = Callable[[str], Checked | DataError]


def check_all(root: Path, names: Sequence[str], check: Check, place: Path | None) -> list[Checked | DataError]:
    """What is known of each file under `root`: remembered, or found by `check`, in threads (Pillow decodes without Python's lock).

    place: the cache; None: nothing is remembered. Raises: OutputError if it cannot be written.
    """
    if place is None:
        return _check(root, names, check)
    facts = {"what": "checked", "root": str(root.resolve()), "record": 1, "shape": [_RECORD.itemsize]}
    space = Space(cache.folder(place, "checked", facts), (_RECORD.itemsize,), "u1")
    keys = np.array([_key(root / name, name) for name in names], KEY)
    known = space.has(keys)
    results: dict[int, Checked | DataError] = {}
    if known.any():
        records = space.rows(keys[known])[:].view(_RECORD)[:, 0]
        results |= {int(index): _restore(one) for index, one in zip(np.flatnonzero(known), records, strict=True)}
    unknown = [int(index) for index in np.flatnonzero(~known)]
    found = _check(root, [names[index] for index in unknown], check)
    results |= dict(zip(unknown, found, strict=True))
    fresh = {keys[index]: one for index, one in zip(unknown, found, strict=True) if keys[index] and isinstance(one, Checked)}
    if fresh:
        records = np.array([(one.sha256, one.width, one.height, one.animated) for one in fresh.values()], _RECORD)
        space.append(np.array(list(fresh), KEY), records.view(np.uint8).reshape(len(records), -1))
    return [results[index] for index in range(len(names))]


def _check(root: Path, names: Sequence[str], check: Check) -> list[Checked | DataError]:
    if len(names) >= _MANY:
        log.info("reading %s pictures in %s", f"{len(names):,}", root)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(check, names, chunksize=1))


def _key(path: Path, name: str) -> bytes:
    """What a file is known by; empty, and so unknown, if it cannot be looked at or has just changed."""
    try:
        found = path.stat()
    except OSError:
        return b""
    if time.time() - found.st_mtime < _SETTLED:
        return b""
    text = f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ino}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest().encode()


def _restore(record: Any) -> Checked:
    return Checked(record["sha256"].decode(), int(record["width"]), int(record["height"]), bool(record["animated"]))
