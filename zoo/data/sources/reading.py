"""Read every file of a listing once: its digest, and whether it decodes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zoo.data.pictures import Checked, check_file
from zoo.data.sets import DIGEST, FileSet, PictureSet, Source
from zoo.data.sources.checked import check_all
from zoo.data.sources.folders import Listing
from zoo.errors import DataError
from zoo.types import Labels

_SMALL = 8
"""Pixels; a side shorter than this is worth a word (reliability measurements, section on bad input)."""
_SHOWN = 5
"""Names in a message."""


def read_listing(listing: Listing, max_unreadable: float, place: Path | None = None) -> Source:
    """Check every picture that was not checked before.

    Args:
        max_unreadable: share of the pictures that may be left out, 0 to 1.
        place: the cache, which remembers what was checked; None: everything is.

    Raises: DataError if more cannot be read, naming the first.
    """
    classes = Labels.sort(name for part in listing.parts.values() for name in part).names
    rows = [
        (part, classes.index(one), name)
        for part, by_class in listing.parts.items()
        for one in sorted(by_class, key=classes.index)
        for name in by_class[one]
    ]
    results = check_all(listing.root, [row[2] for row in rows], lambda name: _try_check(listing.root, name), place)
    unreadable = [str(result) for result in results if isinstance(result, DataError)]
    if len(unreadable) > max_unreadable * len(rows):
        share = f"{len(unreadable):,} of {len(rows):,} pictures cannot be read, more than --max-unreadable {max_unreadable:.2%}"
        raise DataError(f"{listing.root}: {share}: {_first(unreadable)}")
    parts: dict[str, PictureSet] = {}
    for part in listing.parts:
        own = [(target, name, found) for (its, target, name), found in zip(rows, results, strict=True) if its == part]
        parts[part] = _readable(listing.root, own)
    notices = _notices(listing, [row[2] for row in rows], results, unreadable)
    ignored = len(listing.ignored) + len(listing.links)
    return Source(f"folder {listing.root}", "unknown", classes, parts, unreadable, ignored, notices)


def _readable(root: Path, rows: list[tuple[int, str, Checked | DataError]]) -> FileSet:
    """The pictures among (target, name, what was found)."""
    kept = [(target, os.fsencode(name), found.sha256) for target, name, found in rows if isinstance(found, Checked)]
    targets, names, digests = zip(*kept, strict=True) if kept else ((), (), ())
    return FileSet(
        root=root,
        names=np.array(names, dtype=np.bytes_),
        targets=np.array(targets, dtype=np.int64),
        digests=np.array(digests, dtype=DIGEST),
    )


def _try_check(root: Path, name: str) -> Checked | DataError:
    try:
        return check_file(root / name, name)
    except DataError as error:
        return error


def _notices(listing: Listing, names: list[str], results: list[Checked | DataError], unreadable: list[str]) -> list[str]:
    checked = [(name, result) for name, result in zip(names, results, strict=True) if isinstance(result, Checked)]
    small = [name for name, result in checked if min(result.width, result.height) < _SMALL]
    animated = [name for name, result in checked if result.animated]
    lines = [
        (unreadable, "cannot be read and left out"),
        (small, f"with a side under {_SMALL} pixels"),
        (animated, "of several frames, of which only the first is used"),
    ]
    notices = [f"{len(found):,} pictures {text}: {_first(found)}" for found, text in lines if found]
    if listing.ignored:
        notices.append(f"{len(listing.ignored):,} files are not pictures of a class and ignored: {_first(listing.ignored)}")
    if listing.links:
        notices.append(f"{len(listing.links):,} links to folders are not followed: {_first(listing.links)}")
    return notices


def _first(items: list[str]) -> str:
    return "; ".join(items[:_SHOWN]) + ("; ..." if len(items) > _SHOWN else "")
