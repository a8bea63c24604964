"""From the name of some data to its training, validation and test samples, and the record of which is which."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo import cache
from zoo.config import DataConfig, FinetuneConfig
from zoo.data import targets
from zoo.data.sets import ALL, DIGEST, Integers, Opened, SampleSet
from zoo.data.sources import open_source
from zoo.data.sources.in_memory import given_sets as in_memory
from zoo.data.sources.in_memory.given_rows import by_split, has_parts
from zoo.data.sources.source import Request
from zoo.data.splits import checks, facts
from zoo.data.splits.facts import DataFacts
from zoo.data.splits.folds import groups_of, spread
from zoo.errors import ConfigError, DataError
from zoo.types import Kind, Labels, Schema, Task

log = logging.getLogger("zoo")


@dataclass(frozen=True)
class Splits:
    """Samples to train on, to choose the best model by, and (where there are any) to measure the chosen one by."""

    train: SampleSet
    val: SampleSet
    test: SampleSet | None
    labels: Labels
    facts: DataFacts

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.facts.task

    def parts(self) -> dict[str, SampleSet]:
        """The splits that there are, by name, in this order: train, val, test."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: samples for name, samples in named.items() if samples is not None}

    def relabelled(self, labels: Labels) -> Splits:
        """The same with other outputs: `labels` has all of these labels, in any order and number."""
        place = np.array([labels.places[name] for name in self.labels.names], dtype=np.int64)

        def moved(samples: SampleSet) -> SampleSet:
            if self.task is Task.CLASSIFICATION:
                return replace(samples, targets=place[samples.targets])
            wider = np.zeros((len(samples), len(labels)), dtype=samples.targets.dtype)
            wider[:, place] = samples.targets
            return replace(samples, targets=wider)

        parts = {name: moved(samples) for name, samples in self.parts().items()}
        counts = {name: targets.counts(samples.targets, labels, self.task) for name, samples in parts.items()}
        known = replace(self.facts, counts=counts)
        return Splits(parts["train"], parts["val"], parts.get("test"), labels, known)

    def record(self) -> dict[str, Any]:
        """Which sample is where, as plain values for `splits.json`: `[name, class, sha256]` in the order of the indices."""
        return {
            "source": self.facts.source,
            "sha256": self.facts.sha256,
            "labels": list(self.labels.names),
            "splits": {
                split: [
                    [samples.name(index), targets.text(samples.targets, index, self.labels, self.task), samples.digest(index)]
                    for index in range(len(samples))
                ]
                for split, samples in self.parts().items()
            },
        }


@dataclass(frozen=True)
class Record:
    """A `splits.json`, read again."""

    sha256: str
    labels: Labels
    splits: dict[str, list[tuple[str, str, str]]]
    """(name, class, sha256) of each sample by split."""

    def among(self, names: Sequence[str], samples: SampleSet) -> int:
        """How many of these samples are in the splits of these names, byte by byte; samples without a digest are in none."""
        known = {digest for name in names for _, _, digest in self.splits.get(name, ()) if digest}
        return sum(samples.digest(index) in known for index in range(len(samples)))


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
    validation and test samples are set aside: see `set_aside`.

    Raises: DataError, ConfigError, UnknownName: each names the folder, file or class.
    """
    options = config.data
    source = open_source(Request(options, cache.asked_for(config.machine.cache)))
    trained = source.parts["train" if "train" in source.parts else ALL]
    checks.check_readable(source, trained)
    return _split(source, options, config.machine.seed)


def _split(source: Opened, options: DataConfig, seed: int) -> Splits:
    """Treat what is in two splits, set aside what is missing, and gather the facts. Raises: DataError, ConfigError."""
    labels = Labels(source.classes)
    given = {name: samples for name, samples in source.parts.items() if len(samples)}
    given, leaks, notices = checks.resolve_leaks(given, options.leaks)
    parts = _complete(given, source, options, seed)
    notices += _fractions(parts, given, options)
    if source.task is Task.CLASSIFICATION:
        trained = [labels.names[index] for index in np.unique(parts["train"].targets)]
        if len(trained) < 2:
            raise DataError(f"{source.description}: train has one class only ({', '.join(trained)}); at least two are needed")
        for name, samples in parts.items():
            checks.check_known(name, [labels.names[index] for index in np.unique(samples.targets)], trained, "train")
    if source.task is Task.REGRESSION:
        checks.check_values(parts["train"], labels)
    if not all(samples.digests.astype(bool).all() for samples in parts.values()):
        notices.append("samples that are not in memory are not hashed, so identical ones in two splits are not looked for")
    if not source.examined:
        notices += checks.similar_names(labels) + checks.conflicting(parts["train"], labels, source.task)
    known = facts.gather(source, parts, labels, leaks=leaks, notices=tuple(notices))
    return Splits(parts["train"], parts["val"], parts.get("test"), labels, known)


_MEASURED = ("test", "val", ALL)
"""What a model is measured on: the first of these that there is."""


def open_for_evaluation(
    data: Any,
    labels: Labels,
    *,
    kind: Kind = Kind.IMAGE,
    task: Task = Task.CLASSIFICATION,
    options: DataConfig | None = None,
    keys: Sequence[str] | None = None,
    schema: Schema | None = None,
) -> tuple[SampleSet, DataFacts]:
    """Labelled samples for a model that knows `labels`; classes are matched by name, whatever their order or number here.

    Args:
        data: a place as `open_splits` takes it, of whose splits `test` is taken, else `val`; or one data set as `from_datasets` takes it,
            or a dictionary of them by split.
        labels, kind, task: the model's.
        options: which columns of a table are what, and how many samples may be unreadable.
        keys: of data given in Python, as `from_datasets` takes them.
        schema: the columns that the model read: they come before those that are guessed.

    Raises: DataError: as `open_splits`, and if there is a class that the model does not know, or another kind of sample.
    """
    asked = replace(options or DataConfig(), task=task.value, group=None)
    if isinstance(data, (str, os.PathLike)):
        spec = os.fspath(data)
        source = open_source(Request(replace(asked, data=spec), trainable=False, only=_MEASURED, kind=kind, schema=schema))
    else:
        spec = in_memory.DESCRIPTION
        named = by_split(spec, data)[0] if has_parts(data) else {"train": data}
        part = next(named[name] for name in ("test", "val", "train") if name in named)
        source = in_memory.open_parts(
            {"train": part}, asked, label_names=labels.names, keys=keys, kind=kind, schema=schema, trainable=False
        )
    for notice in source.notices:
        log.info("%s", notice)
    measured = next((name for name in _MEASURED if name in source.parts), "")
    if not measured:
        raise DataError(f"{spec}: there is train but neither test nor val; name the samples to evaluate on")
    samples = source.parts[measured]
    if source.kind is not kind or source.task is not task:
        given, wanted = f"{source.task} of {source.kind.nouns}", f"{task} of {kind.nouns}"
        raise DataError(f"{spec}: {given}, and the model is for {wanted}; give it such data")
    if not len(samples):
        raise DataError(f"{spec}: no {kind.nouns} to evaluate on")
    mapped = _as_known(spec, source, samples, labels)
    name = "test" if measured == ALL else measured
    return mapped, facts.gather(source, {name: mapped}, labels)


def _as_known(place: str, source: Opened, samples: SampleSet, labels: Labels) -> SampleSet:
    """The samples with the model's numbers of the classes, or its order of the labels or values. Raises: DataError."""
    own = np.array([labels.places.get(name, -1) for name in source.classes], dtype=np.int64)
    if source.task is Task.CLASSIFICATION:
        present = [source.classes[index] for index in np.unique(samples.targets)]
        checks.check_known(place, present, list(labels.names), "the model")
        return replace(samples, targets=own[samples.targets])
    present = [source.classes[index] for index in np.flatnonzero(samples.targets.any(axis=0))]
    checks.check_known(place, present, list(labels.names), "the model")
    if source.task is Task.REGRESSION and len(source.classes) != len(labels):
        raise DataError(f"{place}: values of {', '.join(source.classes)}; the model predicts {', '.join(labels.names)}")
    wider = np.zeros((len(samples), len(labels)), dtype=samples.targets.dtype)
    wider[:, own[own >= 0]] = samples.targets[:, own >= 0]
    return replace(samples, targets=wider)


def from_datasets(
    train: Any,
    val: Any = None,
    test: Any = None,
    label_names: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    options: DataConfig | None = None,
    seed: int = 0,
    schema: Schema | None = None,
) -> Splits:
    """Splits of a user's own data in memory; without a `val`, it is set aside from `train` (and so is a `test`, if there is none either).

    Each is one of these, whose samples are texts, pairs of texts, or images (as `DatasetSet` says, or arrays `[H, W, 3] uint8`, or
    `pathlib.Path`s); the first sample says which:

    - a map-style torch data set, or a list, of (sample, class) or of dictionaries;
    - a table: a pandas or polars data frame, a `datasets.Dataset`, or a dictionary of columns;
    - a pair of arrays, of samples and of classes;
    - with `options.streaming`, any iterable of rows, which is read through once and kept on the disk.

    Args:
        label_names: in the order of the class numbers; None: those that the data say, else class names in natural order, else numbers.
        keys: the columns of a table, or the keys of dictionaries: (sample, class), or (text, second text, class); None: guessed.
        options: the task, the shares that are set aside, and what to do about leaks; None: the defaults, and leaks are kept.
        seed: of what is set aside.
        schema: what a model read, where there is one: its columns come before those that are guessed.

    Samples that are not in memory (images that a data set reads) are not hashed: two such data are the same if their classes are,
    place by place.

    Raises: DataError naming the row; ConfigError, UnknownName for a column.
    """
    known = options or DataConfig(data="data sets given in Python", leaks="ignore")
    given = {name: one for name, one in {"train": train, "val": val, "test": test}.items() if one is not None}
    source = in_memory.open_parts(given, known, label_names=label_names, keys=keys, schema=schema)
    return _split(source, known, seed)


def set_aside(
    samples: SampleSet, fractions: Mapping[str, float], seed: int, task: Task = Task.CLASSIFICATION
) -> dict[str, SampleSet]:
    """Split into `train` and the parts that `fractions` names (each its share of every class, 0 to 1; of other tasks, see
    `zoo.data.targets.strata`).

    A function of the seed and the samples' names, not of their order or number: a sample's place among those of its class is
    decided by a digest of (seed, name), so adding samples moves few others. Of a class with enough samples, each part has at
    least one; `train` always has. Samples with the same bytes stay together, so that no split leaks (in
    `train`, if their classes differ).
    """
    if samples.groups is not None:
        return _set_groups_aside(samples, fractions, seed, task)
    group, leaders = _same(samples)
    differs = (samples.targets != samples.targets[leaders][group]).reshape(len(group), -1).any(axis=1)
    # In two classes at once: no measure of anything, and perhaps the only one of a class.
    measures = np.setdiff1d(np.arange(len(leaders)), group[differs])
    strata = targets.strata(samples.targets, task)[leaders[measures]]
    ranks = np.empty(len(measures), DIGEST)
    for place, leader in enumerate(leaders[measures]):
        ranks[place] = hashlib.sha256(f"{seed}\0{samples.name(int(leader))}".encode(errors="surrogateescape")).hexdigest()
    part = np.zeros(len(leaders), np.int8)
    order = np.lexsort((ranks, strata))
    starts = np.unique(strata[order], return_index=True)[1]
    for inside in np.split(order, starts)[1:]:
        ranked, start = measures[inside], 0
        for number, count in enumerate(_counts(len(ranked), fractions).values(), 1):
            part[ranked[start : (start := start + count)]] = number
    return {name: samples.subset(np.flatnonzero(part[group] == number)) for number, name in enumerate(("train", *fractions))}


def _set_groups_aside(samples: SampleSet, fractions: Mapping[str, float], seed: int, task: Task) -> dict[str, SampleSet]:
    """As `set_aside`, in whole groups, whose order of equals is by their first samples' names."""
    groups = groups_of([samples])
    ranks = np.full(int(groups.max()) + 1, b"~", DIGEST)
    for index, group in enumerate(groups.tolist()):
        name = hashlib.sha256(f"{seed}\0{samples.name(index)}".encode(errors="surrogateescape")).hexdigest().encode()
        ranks[group] = min(ranks[group], name)
    order = np.argsort(np.argsort(ranks))
    shares = [1 - sum(fractions.values()), *fractions.values()]
    part = spread(targets.strata(samples.targets, task), groups, shares, order)
    return {name: samples.subset(np.flatnonzero(part == number)) for number, name in enumerate(("train", *fractions))}


def _same(samples: SampleSet) -> tuple[Integers, Integers]:
    """The number of the group of each sample, `[N]`, where those with the same bytes are a group; and of each group, the index of the
    sample whose name comes first."""
    keys = samples.digests
    if not keys.astype(bool).all():
        keys = np.array([samples.digest(index) or samples.name(index) for index in range(len(samples))])
    _, leaders, group = np.unique(keys, return_index=True, return_inverse=True)
    for index in np.flatnonzero(np.bincount(group)[group] > 1).tolist():
        if samples.name(index) < samples.name(int(leaders[group[index]])):
            leaders[group[index]] = index
    return group, leaders


def _counts(total: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """How many of a class's `total` samples each part gets; what is left, at least one, is for training.

    Rounded; at least one for each part where that leaves one; the larger parts give way where too little would be left.
    """
    least = 1 if total > len(fractions) else 0
    counts = {name: max(least, round(total * share)) for name, share in fractions.items()}
    while sum(counts.values()) > total - 1:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return counts


def _fractions(parts: Mapping[str, SampleSet], given: Mapping[str, SampleSet], options: DataConfig) -> list[str]:
    """What part of the samples was set aside in whole groups, which may not be what was asked for."""
    cut = [name for name in parts if name not in ("train", *given)]
    if options.group is None or not cut:
        return []
    total = sum(len(parts[name]) for name in ("train", *cut))
    asked = {"val": options.val_fraction, "test": options.test_fraction}
    said = ", ".join(f"{name} {len(parts[name]) / total:.1%} of the samples ({asked[name]:.1%} asked for)" for name in cut)
    return [f"set aside in whole groups of {options.group}: {said}"]


def _complete(parts: dict[str, SampleSet], source: Opened, options: DataConfig, seed: int) -> dict[str, SampleSet]:
    """The parts with a `val`, and a `test` if the data had no splits at all; set aside from the samples to train on, in which identical
    ones stay together."""
    if "val" in parts:
        return parts
    place = options.data
    if options.val_fraction == 0:
        raise ConfigError(f"val_fraction is 0 and {place} has no val part; the best model is chosen by validation samples")
    fractions = {"val": options.val_fraction}
    if "train" not in parts and options.test_fraction:
        fractions["test"] = options.test_fraction
    divided = set_aside(parts["train" if "train" in parts else ALL], fractions, seed, source.task)
    empty = [name for name, samples in divided.items() if not len(samples)]
    if empty and options.group is not None:
        raise DataError(
            f"{place}: too few groups of {options.group} to set any aside for {' and '.join(empty)}; give three or more"
        )
    if empty:
        raise DataError(
            f"{place}: too few {source.kind.nouns} to set any aside for {' and '.join(empty)}; give three or more of a class"
        )
    return divided | ({"test": parts["test"]} if "test" in parts else {})
