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
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from zoo import cache
from zoo.cache import KEY, Space
from zoo.data.decoding.audio_files import CheckedAudio
from zoo.data.decoding.image_files import Checked
from zoo.errors import DataError
from zoo.types import Kind

log = logging.getLogger("zoo")

_RECORD = np.dtype(
    [("sha256", "S64"), ("width", "<u4"), ("height", "<u4"), ("animated", "?"), ("bits", "u1"), ("upper", "?"), ("bands", "?")]
)
_AUDIO_RECORD = np.dtype(
    [
        ("sha256", "S64"),
        ("length", "<u8"),
        ("rate", "<u4"),
        ("channels", "<u2"),
        ("silent", "?"),
        ("cancels", "?"),
        ("broken", "?"),
    ]
)
_FORMS: dict[Kind, tuple[type[Checked] | type[CheckedAudio], np.dtype[Any], dict[str, Any]]] = {
    Kind.IMAGE: (Checked, _RECORD, {"record": 2}),
    Kind.AUDIO: (CheckedAudio, _AUDIO_RECORD, {"record": "sound 3"}),
}
"""Of each kind: what is known of a file, its fields in the cache in their order, and what tells records of other versions apart."""
_MANY = 2000
"""Files from which reading takes seconds, and is announced."""
_SETTLED = 2.0
"""Seconds that a file must have rested."""

Known = Checked | CheckedAudio
"""What is known of a file that was read and decoded."""
Check = Callable[[str], Known | DataError]


def check_all(
    root: Path, names: Sequence[str], check: Check, place: Path | None, kind: Kind = Kind.IMAGE
) -> list[Known | DataError]:
    """What is known of each file under `root`: remembered, or found by `check`, in threads (decoders work without Python's lock).

    Args:
        place: the cache; None: nothing is remembered.
        kind: of the files, which is that of what `check` gives.

    """
    form, record, version = _FORMS[kind]
    facts = {"what": "checked", "root": str(root.resolve()), **version, "shape": [record.itemsize]}
    folder = cache.folder(place, "checked", facts)
    if folder is None:
        return _check(root, names, check, kind)
    space = Space(folder, (record.itemsize,), "u1")
    keys = np.array([_key(root / name, name) for name in names], KEY)
    known = space.has(keys)
    results: dict[int, Known | DataError] = {}
    if known.any():
        records = space.rows(keys[known])[:].view(record)[:, 0]
        restored = (form(digest.decode(), *rest) for digest, *rest in records.tolist())
        results |= {int(index): one for index, one in zip(np.flatnonzero(known), restored, strict=True)}
    unknown = [int(index) for index in np.flatnonzero(~known)]
    found = _check(root, [names[index] for index in unknown], check, kind)
    results |= dict(zip(unknown, found, strict=True))
    fresh = {keys[index]: one for index, one in zip(unknown, found, strict=True) if keys[index] and isinstance(one, form)}
    if fresh:
        records = np.array([astuple(one) for one in fresh.values()], record)
        space.append(np.array(list(fresh), KEY), records.view(np.uint8).reshape(len(records), -1))
    return [results[index] for index in range(len(names))]


def _check(root: Path, names: Sequence[str], check: Check, kind: Kind) -> list[Known | DataError]:
    if len(names) >= _MANY:
        log.info("reading %s %s in %s", f"{len(names):,}", kind.nouns, root)
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
