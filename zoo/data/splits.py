"""From the name of some data to its training, validation and test pictures, and the record of which is which."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zoo import cache
from zoo.config import FinetuneConfig
from zoo.data import checks, facts
from zoo.data.facts import DataFacts
from zoo.data.sets import PictureSet, Source
from zoo.data.sources import builtin, datasets
from zoo.data.sources.folders import ALL, list_folder
from zoo.data.sources.reading import read_listing
from zoo.errors import ConfigError, DataError
from zoo.types import Labels


@dataclass(frozen=True)
class Splits:
    """Pictures to train on, to choose the best model by, and (where there are any) to measure the chosen one by."""

    train: PictureSet
    val: PictureSet
    test: PictureSet | None
    labels: Labels
    facts: DataFacts

    def parts(self) -> dict[str, PictureSet]:
        """The splits that there are, by name, in this order: train, val, test."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: pictures for name, pictures in named.items() if pictures is not None}

    def record(self) -> dict[str, Any]:
        """Which picture is where, as plain values for `splits.json`: `[name, class, sha256]` in the order of the indices."""
        return {
            "source": self.facts.source,
            "sha256": self.facts.sha256,
            "labels": list(self.labels.names),
            "splits": {
                split: [
                    [pictures.name(index), self.labels.names[pictures.target(index)], pictures.digest(index)]
                    for index in range(len(pictures))
                ]
                for split, pictures in self.parts().items()
            },
        }


@dataclass(frozen=True)
class Record:
    """A `splits.json`, read again."""

    sha256: str
    labels: Labels
    splits: dict[str, list[tuple[str, str, str]]]
    """(name, class, sha256) of each picture by split."""

    @cached_property
    def trained_digests(self) -> frozenset[str]:
        """sha256 of the pictures that were trained on; pictures without one are left out."""
        return frozenset(digest for _, _, digest in self.splits["train"] if digest)

    def trained_on(self, pictures: PictureSet) -> int:
        """How many of these pictures were trained on, byte by byte."""
        return sum(pictures.digest(index) in self.trained_digests for index in range(len(pictures)))


def read_splits(path: str | os.PathLike[str]) -> Record:
    """Read what `Splits.record` gave. Raises: DataError naming the file."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        splits = {split: [(name, label, digest) for name, label, digest in rows] for split, rows in values["splits"].items()}
        return Record(values["sha256"], Labels(tuple(values["labels"])), {"train": [], **splits})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{os.fspath(path)}: not a record of splits: {str(error).splitlines()[0]}") from error


def open_splits(config: FinetuneConfig) -> Splits:
    """Read and check the data that the config names, and split what is not split.

    Every file is read and decoded once; the cache remembers it while it stays as it is. Where the data has no folders for them,
    validation and test pictures are set aside: see `set_aside`.

    Raises: DataError, ConfigError, UnknownName: each names the folder, file or class.
    """
    options = config.data
    source = _open(options.data, options.max_unreadable, cache.place(config.machine.cache))
    trained = source.parts["train" if "train" in source.parts else ALL]
    checks.check_readable(source, trained)
    labels = Labels(source.classes)
    parts = _complete(source.parts, options.val_fraction, options.test_fraction, config.machine.seed, options.data)
    parts, leaks, notices = checks.resolve_leaks(parts, options.leaks)
    notices += checks.similar_names(labels) + checks.conflicting(parts["train"], labels)
    known = facts.gather(source, parts, labels, leaks=leaks, notices=tuple(notices))
    return Splits(parts["train"], parts["val"], parts.get("test"), labels, known)


def open_for_evaluation(
    data: str | os.PathLike[str], labels: Labels, max_unreadable: float = 0.01
) -> tuple[PictureSet, DataFacts]:
    """Labelled pictures for a model that knows `labels`; classes are matched by name, whatever their order or number here.

    Args:
        data: a folder of class folders, or one with split folders, of which `test` is taken, else `val`; or `builtin:digits`.
        labels: the model's.

    Raises: DataError: as `open_splits`, and if there is a class that the model does not know.
    """
    spec = os.fspath(data)
    if spec.startswith(builtin.PREFIX):
        source, part = builtin.open_builtin(spec), ALL
    else:
        listing = list_folder(Path(spec).expanduser())
        part = next((name for name in ("test", "val", ALL) if name in listing.parts), "")
        if not part:
            raise DataError(f"{spec}: there is train but neither test nor val; name the folder of classes to evaluate on")
        source = read_listing(listing.only(part), max_unreadable)
    pictures = source.parts[part]
    if not len(pictures):
        raise DataError(f"{spec}: no pictures to evaluate on")
    present = [source.classes[index] for index in np.unique(pictures.targets)]
    checks.check_known(spec, present, list(labels.names), "the model")
    own = np.array([labels.names.index(name) if name in labels.names else -1 for name in source.classes], dtype=np.int64)
    mapped = replace(pictures, targets=own[pictures.targets])
    name = "test" if part == ALL else part
    return mapped, facts.gather(source, {name: mapped}, labels)


def from_datasets(train: Any, val: Any, test: Any = None, label_names: Sequence[str] | None = None) -> Splits:
    """Splits of a user's own map-style data sets, each giving (picture, class number); `DatasetSet` says which pictures.

    Class numbers are taken from `.targets` or `.labels`, else by reading each item once; class names from `label_names`, else
    `train.classes`, else the numbers. Pictures are not hashed: two such data are the same if their classes are, place by place.

    Raises: DataError.
    """
    given = {"train": train, "val": val, "test": test}
    parts = {name: datasets.wrap(name, dataset) for name, dataset in given.items() if dataset is not None}
    if "val" not in parts:
        raise DataError("val is missing: the best model is chosen by validation pictures; give data=(train, val)")
    labels = datasets.labels_of(train, list(parts.values()), label_names)
    trained = set(parts["train"].targets.tolist())
    if len(trained) < 2:
        raise DataError("train has one class only; at least two are needed")
    for name, pictures in parts.items():
        present = [labels.names[index] for index in sorted(set(pictures.targets.tolist()))]
        checks.check_known(name, present, [labels.names[index] for index in sorted(trained)], "train")
    source = Source("data sets given in Python", "unknown", labels.names, {**parts})
    note = "pictures of data sets given in Python are not hashed, so identical ones in two splits are not looked for"
    known = facts.gather(source, parts, labels, notices=(note, *checks.similar_names(labels)))
    return Splits(parts["train"], parts["val"], parts.get("test"), labels, known)


def set_aside(pictures: PictureSet, fractions: Mapping[str, float], seed: int) -> dict[str, PictureSet]:
    """Split into `train` and the parts that `fractions` names (each its share of every class, 0 to 1).

    A function of the seed and the pictures' names, not of their order or number: a picture's place among those of its class is
    decided by a digest of (seed, name), so adding pictures moves few others. Of a class with enough pictures, each part has at
    least one; `train` always has. Pictures with the same bytes stay together, so that no split leaks (in
    `train`, if their classes differ).
    """
    groups: dict[str, list[int]] = {}
    for index in range(len(pictures)):
        groups.setdefault(pictures.digest(index) or pictures.name(index), []).append(index)
    by_class: dict[int, list[tuple[str, list[int]]]] = {}
    for members in groups.values():
        if len({pictures.target(index) for index in members}) > 1:
            continue  # in two classes at once: no measure of anything, and perhaps the only one of a class
        first = min(members, key=pictures.name)
        rank = hashlib.sha256(f"{seed}\0{pictures.name(first)}".encode(errors="surrogateescape")).hexdigest()
        by_class.setdefault(pictures.target(first), []).append((rank, members))
    chosen: dict[str, list[int]] = {name: [] for name in fractions}
    for ranked in by_class.values():
        ranked.sort()
        start = 0
        for name, count in _counts(len(ranked), fractions).items():
            chosen[name] += [index for _, members in ranked[start : start + count] for index in members]
            start += count
    held = [index for indices in chosen.values() for index in indices]
    rest = np.setdiff1d(np.arange(len(pictures)), held)
    parts = {"train": pictures.subset(rest)}
    return parts | {name: pictures.subset(np.array(sorted(indices), dtype=np.int64)) for name, indices in chosen.items()}


def _counts(total: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """How many of a class's `total` pictures each part gets; what is left, at least one, is for training.

    Rounded; at least one for each part where that leaves one; the larger parts give way where too little would be left.
    """
    least = 1 if total > len(fractions) else 0
    counts = {name: max(least, round(total * share)) for name, share in fractions.items()}
    while sum(counts.values()) > total - 1:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return counts


def _open(spec: str, max_unreadable: float, place: Path | None) -> Source:
    if spec.startswith(builtin.PREFIX):
        return builtin.open_builtin(spec)
    listing = list_folder(Path(spec).expanduser())
    checks.check_layout(listing)
    return read_listing(listing, max_unreadable, place)


def _complete(
    parts: Mapping[str, PictureSet], val_fraction: float, test_fraction: float, seed: int, place: str
) -> dict[str, PictureSet]:
    """The parts with a `val`, and a `test` if the data had no splits at all; set aside from the pictures to train on."""
    parts = {name: pictures for name, pictures in parts.items() if len(pictures)}
    if "val" in parts:
        return parts
    if val_fraction == 0:
        raise ConfigError(f"val_fraction is 0 and {place} has no val folder; the best model is chosen by validation pictures")
    fractions = {"val": val_fraction} if "train" in parts or not test_fraction else {"val": val_fraction, "test": test_fraction}
    divided = set_aside(parts["train" if "train" in parts else ALL], fractions, seed)
    empty = [name for name, pictures in divided.items() if not len(pictures)]
    if empty:
        raise DataError(f"{place}: too few pictures to set any aside for {' and '.join(empty)}; give three or more of a class")
    return divided | ({"test": parts["test"]} if "test" in parts else {})
