"""Data as they are: nothing is dropped, set aside, or refused that can be described instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from zoo import cache
from zoo.config import FinetuneConfig
from zoo.data import facts, targets
from zoo.data.facts import DataFacts
from zoo.data.sets import Integers, Opened, SampleSet
from zoo.data.sources import open_source
from zoo.data.sources.base import Request
from zoo.data.splits import Splits
from zoo.errors import DataError
from zoo.types import Labels


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
