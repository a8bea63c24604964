"""What is to be predicted, as arrays: `[N] int64` class numbers; `[N, C] float32`, 1 where a label holds; `[N, K] float64` values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.types import Labels, Task

Targets = NDArray[Any]

DTYPES: dict[Task, Any] = {Task.CLASSIFICATION: np.int64, Task.MULTILABEL: np.float32, Task.REGRESSION: np.float64}
"""Of what type they are."""
BINS = 10
"""Groups of like values in which samples are set aside for regression: their deciles."""


def text(targets: Targets, index: int, labels: Labels, task: Task) -> str:
    """A target as people write it: `cat`, `cat|indoors`, `3.5`, `3.5|0.2`."""
    if task is Task.CLASSIFICATION:
        return labels.names[int(targets[index])]
    if task is Task.MULTILABEL:
        return "|".join(name for name, holds in zip(labels.names, targets[index], strict=True) if holds)
    return "|".join(repr(value).removesuffix(".0") for value in targets[index].tolist())


def strata(targets: Targets, task: Task) -> NDArray[np.int64]:
    """`[N]`: the group of each sample; every group is to be in every split. The class; the set of labels; the decile of the first value."""
    if task is Task.CLASSIFICATION:
        return np.asarray(targets, dtype=np.int64)
    if task is Task.MULTILABEL:
        return np.asarray(np.unique(targets, axis=0, return_inverse=True)[1], dtype=np.int64).reshape(-1)
    edges = np.quantile(targets[:, 0], np.arange(1, BINS) / BINS)
    return np.searchsorted(edges, targets[:, 0], side="right").astype(np.int64)


def counts(targets: Targets, labels: Labels, task: Task) -> dict[str, int]:
    """Samples of each class, or with each label; of values, how many there are of each."""
    if task is Task.CLASSIFICATION:
        numbers = np.bincount(targets, minlength=len(labels))
    else:
        numbers = targets.sum(axis=0) if task is Task.MULTILABEL else np.full(len(labels), len(targets))
    return {name: int(number) for name, number in zip(labels.names, numbers, strict=True)}
