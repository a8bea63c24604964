"""The tables of a report: a row for each class, label or value, and which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.evaluation.array_checks import Floats, Ints
from zoo.evaluation.outputs import MultilabelOutputs, Outputs, ValueOutputs
from zoo.types import Labels

GRID = 20
"""Cells a side of the count of true against predicted values."""


@dataclass(frozen=True)
class ClassRow:
    """One class. A number is None where it would be a share of nothing."""

    name: str
    precision: float | None
    """Share of the samples predicted as this class that are of it."""
    recall: float | None
    """Share of the samples of this class that are found."""
    f1: float | None
    """2 right / (samples + predictions)."""
    support: int
    """Images of this class."""


@dataclass(frozen=True)
class LabelRow:
    """One label of several that a sample may have. A number is None where it would be a share of nothing."""

    name: str
    precision: float | None
    """Share of the samples that are said to have this label that have it."""
    recall: float | None
    """Share of the samples with this label that are found."""
    f1: float | None
    """2 right / (samples with it + predictions of it)."""
    support: int
    """Samples with this label."""
    predicted: int
    """Samples that are said to have it."""
    threshold: float
    """The probability from which it is said to hold."""


@dataclass(frozen=True)
class ValueRow:
    """One value, and the residuals: predictions minus targets. All but `r2` and the counts are in the unit of the value."""

    name: str
    mean: float
    """Of the targets."""
    deviation: float
    """Standard deviation of the targets (of all of them, not of a sample: divided by N)."""
    bias: float
    """Mean residual: above 0 where predictions are too large."""
    mae: float
    """Mean absolute residual."""
    rmse: float
    """Square root of the mean squared residual."""
    r2: float | None
    """Share of the variance that is explained; None where all targets are equal."""
    residuals: list[float]
    """The residuals' percentiles 0, 5, 50, 95 and 100 (linear between neighbours)."""
    low: float
    """The smallest target or prediction: where the grid begins."""
    high: float
    """The largest: where it ends."""
    grid: list[list[int]]
    """`[20, 20]`: samples by target (row) and prediction (column), in cells of equal width."""


@dataclass(frozen=True)
class Confusion:
    """How often samples of one class were taken for another."""

    true: str
    predicted: str
    count: int
    share: float
    """Of the true class's samples, in 0..1."""


def confusion(outputs: Outputs) -> Ints:
    """`[C, C] int64`; row: true class, column: predicted class."""
    classes = outputs.num_classes
    pairs = outputs.targets * classes + outputs.predictions
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_rows(outputs: Outputs, labels: Labels) -> list[ClassRow]:
    """A row for each class, in the order of the labels."""
    right = np.bincount(outputs.targets[outputs.correct > 0], minlength=len(labels))
    predicted = np.bincount(outputs.predictions, minlength=len(labels))
    numbers = zip(labels.names, right.tolist(), outputs.support.tolist(), predicted.tolist(), strict=True)
    return [ClassRow(name, *_rates(hits, support, said), support) for name, hits, support, said in numbers]


def label_rows(outputs: MultilabelOutputs, labels: Labels) -> list[LabelRow]:
    """A row for each label, in their order."""
    assert outputs.thresholds is not None  # a report is made from logits
    right, said = (outputs.targets * outputs.predictions).sum(axis=0), outputs.predictions.sum(axis=0)
    columns = (right, outputs.support, said, outputs.thresholds)
    numbers = zip(labels.names, *(column.tolist() for column in columns), strict=True)
    return [
        LabelRow(name, *_rates(hits, support, predicted), support, predicted, threshold)
        for name, hits, support, predicted, threshold in numbers
    ]


def _rates(hits: int, support: int, said: int) -> tuple[float | None, float | None, float | None]:
    """(precision, recall, F1) of one class."""
    return hits / said if said else None, hits / support if support else None, 2 * hits / (support + said) if support else None


def value_rows(outputs: ValueOutputs, labels: Labels) -> list[ValueRow]:
    """A row for each value, in the order of their names."""
    columns = zip(labels.names, outputs.targets.T, outputs.predictions.T, strict=True)
    return [_value_row(name, true, said) for name, true, said in columns]


def _value_row(name: str, true: Floats, said: Floats) -> ValueRow:
    residuals = said - true
    squares, deviation = float((residuals**2).mean()), float(true.std())
    low, high = float(min(true.min(), said.min())), float(max(true.max(), said.max()))
    return ValueRow(
        name=name,
        mean=float(true.mean()),
        deviation=deviation,
        bias=float(residuals.mean()),
        mae=float(np.abs(residuals).mean()),
        rmse=float(np.sqrt(squares)),
        r2=1 - squares / deviation**2 if np.ptp(true) else None,
        residuals=np.percentile(residuals, (0, 5, 50, 95, 100)).tolist(),
        low=low,
        high=high,
        grid=_grid(true, said, low, high),
    )


def _grid(true: Floats, said: Floats, low: float, high: float) -> list[list[int]]:
    width = (high - low) or 1.0
    row, column = (np.minimum((values - low) / width * GRID, GRID - 1).astype(np.int64) for values in (true, said))
    counts: list[list[int]] = np.bincount(row * GRID + column, minlength=GRID * GRID).reshape(GRID, GRID).tolist()
    return counts
