"""One pass over the samples: the size of each, and what its near duplicates would have in common with it. Likely label errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo import cache
from zoo.cache import Shards, Space
from zoo.data.sets import AudioFiles, DatasetSet, Integers
from zoo.data.splits import duplicates
from zoo.data.splits.duplicates import LOOK
from zoo.errors import DataError
from zoo.inspection.samples import Raw
from zoo.types import Kind

_Measured = TypeVar("_Measured")
_AT_ONCE = 256
"""Samples that are read ahead of those that are kept."""
_FORMAT = 1
"""To be raised whenever a look at the same image would be another."""
Probabilities = NDArray[np.floating]
"""`[N, C]`, each row out of fold: by a model that was fitted without the sample and its duplicates."""


@dataclass
class Measures:
    """What was measured of every sample that could be read."""

    sizes: dict[str, NDArray[Any]] = field(default_factory=dict)
    """By what is measured (`width in pixels`, `words`, `seconds`): a number for each."""
    common: dict[str, dict[str, int]] = field(default_factory=dict)
    """By what is counted (`size`, `rate`): how many samples have each value, the most common first."""
    near: list[Integers] = field(default_factory=list)
    """Groups of samples that are nearly the same."""
    unreadable: list[str] = field(default_factory=list)
    """`name: reason` of those that could not be read just now."""


def measure(raw: Raw, place: Path | None) -> Measures:
    """Measure every sample. `place`: the cache, which remembers how images look; None: nothing is remembered. Raises: OutputError."""
    if raw.facts.kind is Kind.TEXT:
        return _measure_texts(raw)
    return _measure_images(raw, place) if raw.facts.kind is Kind.IMAGE else _measure_audio(raw)


def _measure_texts(raw: Raw) -> Measures:
    rows = np.empty((len(raw), 2), np.int64)
    keys = np.empty(len(raw), "S32")
    for number, (samples, index) in enumerate(raw.each()):
        item = samples.item(index)
        texts = [item] if isinstance(item, str) else item
        rows[number] = sum(map(len, texts)), sum(len(text.split()) for text in texts)
        keys[number] = duplicates.text_key(item)
    return Measures({"characters": rows[:, 0], "words": rows[:, 1]}, near=duplicates.same(keys))


def _measure_images(raw: Raw, place: Path | None) -> Measures:
    measures = Measures()
    looks = np.zeros(len(raw), LOOK)
    known, digests = np.zeros(len(raw), np.bool_), raw.digests
    space = _space(place) if digests.astype(bool).all() else None
    if space is not None:
        known = space.has(digests)
        looks[known] = space.rows(digests[known])[:].view(LOOK)[:, 0]
    missing = np.flatnonzero(~known)
    found = _read(raw, missing, lambda item: duplicates.look(item) if isinstance(item, Image.Image) else None, measures)
    if space is not None and len(missing):
        with Shards(space) as shards:
            for index, one in found:
                looks[index] = one
                shards.add(digests[index : index + 1], one.reshape(1).view(np.uint8).reshape(1, -1))
    else:
        for index, one in found:
            looks[index] = one
    seen = np.flatnonzero(looks["width"])
    measures.sizes = {f"{side} in pixels": looks[side][seen].astype(np.int64) for side in ("width", "height")}
    measures.common = {"size": _counts([f"{one['width']} x {one['height']}" for one in looks[seen]])}
    measures.near = [seen[group] for group in duplicates.near(looks[seen])]
    return measures


def _measure_audio(raw: Raw) -> Measures:
    """What was found when the files were checked."""
    parts = [samples for samples in raw.parts.values() if isinstance(samples, AudioFiles)]
    milliseconds, rates, channels = (
        np.concatenate([getattr(samples, name) for samples in parts]) for name in ("milliseconds", "rates", "channels")
    )
    common = {"rate": [f"{rate:,} Hz" for rate in rates], "channels": [str(count) for count in channels]}
    return Measures({"seconds": milliseconds / 1000}, {name: _counts(values) for name, values in common.items()})


def _read(
    raw: Raw, which: Integers, function: Callable[[Any], _Measured | None], measures: Measures
) -> Iterator[tuple[int, _Measured]]:
    """`function` of each of the samples; those of which it gives None are passed over, the unreadable are noted.

    Files are read in threads; a user's own data set, which may not bear that, in one.
    """

    def one(index: int) -> _Measured | str | None:
        try:
            return function(raw.item(index))
        except DataError as error:
            return str(error)
        except Exception as error:  # a user's own data set can raise anything
            _, samples, own = raw.locate(index)
            return f"{samples.name(own)}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"

    threads = 1 if any(isinstance(samples, DatasetSet) for samples in raw.parts.values()) else min(os.cpu_count() or 1, 8)
    waiting = iter(which.tolist())
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(waiting, _AT_ONCE)):
            for index, result in zip(some, pool.map(one, some), strict=True):
                if isinstance(result, str):
                    measures.unreadable.append(result)
                elif result is not None:
                    yield index, result


def _space(place: Path | None) -> Space | None:
    shape = (LOOK.itemsize,)
    facts = {"what": "looks", "format": _FORMAT, "shape": list(shape)}
    folder = cache.folder(place, "looks", facts)
    return None if folder is None else Space(folder, shape, "u1")


def _counts(values: list[str]) -> dict[str, int]:
    names, numbers = np.unique(np.array(values, np.dtypes.StringDType()), return_counts=True)
    order = np.argsort(-numbers, kind="stable")
    return {str(names[index]): int(numbers[index]) for index in order}


def likely_errors(labels: Integers, probabilities: Probabilities) -> tuple[Integers, Integers]:
    """The samples whose labels are likely wrong by confident learning (arxiv.org/abs/1911.00068), and the most probable class of each.

    A sample is one of them whose probability of another class reaches that class's threshold, the mean over the samples that carry its
    label. Ranked by self-confidence, the probability of the label, lowest first. labels: `[N]`, each of `C` classes at least once.
    """
    from cleanlab.filter import find_label_issues  # late: a second with pandas, and only this needs it

    ranked = find_label_issues(
        labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return np.asarray(ranked, np.int64), probabilities[ranked].argmax(axis=1)
