"""All samples of some data, and what a linear probe says of each that has seen neither it nor its duplicates."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import cache
from zoo.adaptation import boundary
from zoo.config import FinetuneConfig, Resolved
from zoo.data import targets
from zoo.data.sets import Integers, Opened, SampleSet
from zoo.data.sources import open_source
from zoo.data.sources.source import Request
from zoo.data.splits import Splits, facts
from zoo.data.splits.facts import DataFacts
from zoo.errors import ConfigError, DataError
from zoo.evaluation import metrics
from zoo.evaluation.outputs import Outputs
from zoo.training import assembly, launch
from zoo.training.collect import prepare
from zoo.training.features.extraction import Extractor, Wanted
from zoo.training.probe import sweep
from zoo.training.probe.design import Scaling
from zoo.types import Labels, Task

log = logging.getLogger("zoo")

FOLDS = 5
"""As cleanlab's default, and scikit-learn's."""
SCALING: Scaling = "standardised"
"""Of the features."""


@dataclass(frozen=True)
class Raw:
    """All samples of all splits in one order: split by split, each in its own."""

    parts: dict[str, SampleSet]
    """By split; under `all` where the data have none."""
    labels: Labels
    facts: DataFacts

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def locate(self, index: int) -> tuple[str, SampleSet, int]:
        """The split of a sample, that split's samples, and its place among them."""
        for (split, samples), stop in zip(self.parts.items(), accumulate(map(len, self.parts.values())), strict=True):
            if index < stop:
                return split, samples, index - stop + len(samples)
        raise IndexError(index)

    def each(self) -> Iterator[tuple[SampleSet, int]]:
        """The samples, one after the other, as their splits' samples and places."""
        return ((samples, index) for samples in self.parts.values() for index in range(len(samples)))

    def item(self, index: int) -> Any:
        """What the sample is. Raises: DataError."""
        _, samples, own = self.locate(index)
        return samples.item(own)

    def label(self, index: int) -> str:
        """The sample's target as people write it."""
        _, samples, own = self.locate(index)
        return targets.text(samples.targets, own, self.labels, self.facts.task)

    @property
    def targets(self) -> Any:
        """`[N, ...]`, of every sample."""
        return np.concatenate([samples.targets for samples in self.parts.values()])

    @property
    def digests(self) -> Any:
        """`[N]`, of every sample; empty where it has none."""
        return np.concatenate([samples.digests for samples in self.parts.values()])

    @property
    def splits(self) -> Integers:
        """`[N]`, the number of each sample's split, in the order of `parts`."""
        return np.repeat(np.arange(len(self.parts)), [len(samples) for samples in self.parts.values()])


def open_raw(config: FinetuneConfig) -> Raw:
    """Read what the config's `data` names. One class, empty classes and any share of unreadable samples are not errors here.

    Raises: DataError, ConfigError, UnknownName where there is nothing to describe: no such place, no samples, no labels.
    """
    options = replace(config.data, max_unreadable=1.0)
    source = open_source(Request(options, cache.asked_for(config.machine.cache), trainable=False))
    if not any(map(len, source.parts.values())):
        reasons = f": {'; '.join(source.unreadable[:3])}" if source.unreadable else ""
        raise DataError(f"{options.data}: not one of the {source.kind.nouns} can be read{reasons}")
    return _raw(source)


def from_splits(splits: Splits) -> Raw:
    """Splits that are open already: data sets given in Python."""
    return Raw(splits.parts(), splits.labels, splits.facts)


def _raw(source: Opened) -> Raw:
    labels = Labels(source.classes)
    return Raw(source.parts, labels, facts.gather(source, source.parts, labels))


def features(raw: Raw, resolved: Resolved) -> tuple[NDArray[np.float32], str]:
    """`[N, D]`: what the backbone gives for every sample, computed once and kept in the cache; and where its weights came from.

    Raises: ZooError.
    """
    config = launch.settle(resolved).config
    device = torch.device(config.machine.device)
    model = prepare(assembly.build_model(config, _whole(raw)), device)
    cut = boundary.behind(model)
    with Extractor(cut.prefix, cut.where, model.backbone, config, device, expected=len(raw)) as extractor:
        found = extractor.all_rows([Wanted(samples) for samples in raw.parts.values() if len(samples)])
        rows = [one[:] for one in found]
        log.info("%s", extractor.work)
    return np.concatenate(rows), model.backbone.origin.source


def check_task(raw: Raw) -> None:
    """Raises: ConfigError where the samples have no classes to mistake for each other."""
    if raw.facts.task is not Task.CLASSIFICATION:
        raise ConfigError(
            f"likely label errors are found in classifications, and this is {raw.facts.task.value}; leave out the backbone"
        )


def assign(labels: Integers, names: list[str], groups: Iterable[Integers], seed: int) -> Integers:
    """`[N]`: the fold of each sample, every class spread evenly; the members of a group share one.

    A function of the seed and the names. -1 for the samples of a class with fewer members (groups count once) than there are folds:
    a fold without it would find it nowhere.
    """
    leader = np.arange(len(labels))
    for group in groups:
        leader[group] = leader[group].min()
    leaders = np.unique(leader)
    ranks = {int(one): hashlib.sha256(f"{seed}\0{names[one]}".encode(errors="surrogateescape")).digest() for one in leaders}
    folds = np.full(len(labels), -1, np.int64)
    for label in np.unique(labels):
        own = sorted((int(one) for one in leaders[labels[leaders] == label]), key=ranks.__getitem__)
        if len(own) >= FOLDS:
            folds[own] = np.arange(len(own)) % FOLDS
    folds = folds[leader]
    spread = [label for label in np.unique(labels) if (folds[leaders[labels[leaders] == label]] >= 0).any()]
    folds[~np.isin(labels, spread)] = -1
    return folds


def out_of_fold(rows: NDArray[np.float32], labels: Integers, folds: Integers) -> NDArray[np.float64]:
    """`[N, C]`: class probabilities of each sample by a head solved on the other folds. Every class is in two folds at least.

    The strength of the L2 penalty is the one of lowest log-loss on the first fold.
    """
    classes = int(labels.max()) + 1
    held = folds == 0
    losses, log_loss = {}, metrics.get("log_loss").function
    for candidate in sweep.sweep(rows[~held], labels[~held], classes, scalings=(SCALING,)):
        losses[candidate.strength] = log_loss(Outputs.from_logits(labels[held], sweep.logits(candidate, rows[held])))
    strength = min(losses, key=losses.__getitem__)
    probabilities = np.empty((len(labels), classes))
    for fold in range(FOLDS):
        held = folds == fold
        (candidate,) = sweep.sweep(rows[~held], labels[~held], classes, scalings=(SCALING,), strengths=(strength,))
        probabilities[held] = Outputs.from_logits(labels[held], sweep.logits(candidate, rows[held])).probabilities
    return probabilities


def _whole(raw: Raw) -> Splits:
    """Every sample, as the model is built for."""
    first = next(samples for samples in raw.parts.values() if len(samples))
    return Splits(first, first, None, raw.labels, raw.facts)
