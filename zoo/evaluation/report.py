"""The report on a set of pictures: every number that tables, cards and figures show, measured in one pass over all outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zoo.errors import ConfigError, DataError
from zoo.evaluation import calibration, intervals
from zoo.evaluation.calibration import Bin
from zoo.evaluation.outputs import Ints, Outputs, Undefined
from zoo.evaluation.shipped import SHIPPED, Metric
from zoo.types import Labels


@dataclass(frozen=True)
class Value:
    """One metric: its value with a 95 % interval, or why there is none."""

    value: float | None
    """None where undefined."""
    higher_is_better: bool
    low: float | None = None
    high: float | None = None
    why: str | None = None
    """Why there is no value, or no interval."""
    resamples: int = 0
    """Resamples behind the interval; 0 if none was asked for."""
    dropped: int = 0
    """How many of them had no value."""

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.why}"
        interval = f" [{self.low:.4f}, {self.high:.4f}]" if self.low is not None else ""
        return f"{self.value:.4f}{interval}"


@dataclass(frozen=True)
class ClassRow:
    """One class. A number is None where it would be a share of nothing."""

    name: str
    precision: float | None
    """Share of the pictures predicted as this class that are of it."""
    recall: float | None
    """Share of the pictures of this class that are found."""
    f1: float | None
    """2 right / (pictures + predictions)."""
    support: int
    """Pictures of this class."""


@dataclass(frozen=True)
class Confusion:
    """How often pictures of one class were taken for another."""

    true: str
    predicted: str
    count: int
    share: float
    """Of the true class's pictures, in 0..1."""


@dataclass(frozen=True)
class Report:
    """What a model's outputs are worth on N pictures of C classes."""

    n: int
    labels: Labels
    values: dict[str, Value]
    """By metric name: zoo's own in their order, then the user's."""
    per_class: list[ClassRow]
    """In the order of the labels."""
    confusion: Ints
    """`[C, C] int64`; row: true class, column: predicted class."""
    calibration: list[Bin]
    """The 15 bins of the reliability diagram."""
    majority: float
    """Accuracy of always answering the most frequent class of these pictures."""
    warnings: tuple[str, ...]
    """What a reader should know before believing the numbers; a sentence each."""

    @property
    def beats_majority(self) -> bool:
        """Whether more pictures are classified rightly than by always answering the most frequent class."""
        return bool(np.trace(self.confusion) > self.confusion.sum(axis=1).max())

    def most_confused(self, count: int = 5) -> list[Confusion]:
        """The pairs that are confused most often, the worst first; fewer than `count` if there are no more."""
        errors = self.confusion * (1 - np.eye(len(self.labels), dtype=np.int64))
        order = np.argsort(-errors, axis=None, kind="stable")[:count]
        pairs = (divmod(int(index), len(self.labels)) for index in order if errors.flat[index] > 0)
        names, support = self.labels.names, self.confusion.sum(axis=1)
        return [
            Confusion(names[true], names[said], int(errors[true, said]), float(errors[true, said] / support[true]))
            for true, said in pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        values = {name: dataclasses.asdict(value) for name, value in self.values.items()}
        return {
            "n": self.n,
            "labels": list(self.labels.names),
            "labels_sha256": self.labels.sha256,
            "values": values,
            "per_class": [dataclasses.asdict(row) for row in self.per_class],
            "confusion": self.confusion.tolist(),
            "calibration": [dataclasses.asdict(one) for one in self.calibration],
            "majority": self.majority,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The inverse of `to_dict`. Raises: DataError if the values are not a report's."""
        try:
            return cls(
                n=values["n"],
                labels=Labels(tuple(values["labels"])),
                values={name: Value(**value) for name, value in values["values"].items()},
                per_class=[ClassRow(**row) for row in values["per_class"]],
                confusion=np.asarray(values["confusion"], dtype=np.int64),
                calibration=[Bin(**one) for one in values["calibration"]],
                majority=values["majority"],
                warnings=tuple(values["warnings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a report: {type(error).__name__} {error}; evaluate again") from error


def evaluate(
    targets: ArrayLike,
    logits: ArrayLike,
    labels: Labels,
    *,
    extra_metrics: Iterable[Metric] = (),
    intervals: bool = True,
    seed: int = 0,
) -> Report:
    """Report on pictures whose true classes are `targets` `[N]` (whole numbers) and whose logits are `[N, C]`.

    All of zoo's metrics are computed, and `extra_metrics`; with `intervals`, each gets a 95 % bootstrap interval, equal for the
    same seed. Nothing is averaged over batches. Raises: DataError if shapes or targets do not fit; NonFinite if a logit is NaN or
    infinite; ConfigError if a user's metric fails, or its name is taken.
    """
    outputs = Outputs.from_logits(targets, logits)
    if outputs.num_classes != len(labels):
        raise DataError(f"the logits have {outputs.num_classes} columns; expected {len(labels)}, one for each class")
    wanted = _wanted(extra_metrics)
    values = _values(wanted, outputs, intervals, seed)
    return Report(
        n=len(outputs),
        labels=labels,
        values=values,
        per_class=_per_class(outputs, labels),
        confusion=_confusion(outputs),
        calibration=calibration.bins(outputs),
        majority=float(outputs.support.max() / len(outputs)),
        warnings=tuple(_warnings(outputs, labels)),
    )


def _wanted(extra: Iterable[Metric]) -> list[Metric]:
    wanted = dict(SHIPPED)
    for metric in extra:
        if wanted.setdefault(metric.name, metric) != metric:
            raise ConfigError(f"there are two metrics {metric.name!r}; give one of them another name")
    return list(wanted.values())


def _values(metrics: list[Metric], outputs: Outputs, with_intervals: bool, seed: int) -> dict[str, Value]:
    points: dict[str, Value] = {}
    defined = []
    for metric in metrics:
        try:
            points[metric.name] = Value(metric.function(outputs), metric.higher_is_better)
            defined.append(metric)
        except Undefined as reason:
            points[metric.name] = Value(None, metric.higher_is_better, why=str(reason))
    if with_intervals:
        for name, one in intervals.bootstrap(defined, outputs, seed).items():
            points[name] = dataclasses.replace(
                points[name], low=one.low, high=one.high, why=one.why, resamples=one.resamples, dropped=one.dropped
            )
    return points


def _confusion(outputs: Outputs) -> Ints:
    classes = outputs.num_classes
    pairs = outputs.targets * classes + outputs.predictions
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _per_class(outputs: Outputs, labels: Labels) -> list[ClassRow]:
    right = np.bincount(outputs.targets[outputs.correct > 0], minlength=len(labels))
    predicted = np.bincount(outputs.predictions, minlength=len(labels))
    rows = []
    for name, hits, pictures, said in zip(
        labels.names, right.tolist(), outputs.support.tolist(), predicted.tolist(), strict=True
    ):
        precision = hits / said if said else None
        recall = hits / pictures if pictures else None
        f1 = 2 * hits / (pictures + said) if pictures and said + pictures else None
        rows.append(ClassRow(name, precision, recall, f1, pictures))
    return rows


def _warnings(outputs: Outputs, labels: Labels) -> Iterable[str]:
    accuracy, n = float(outputs.correct.mean()), len(outputs)
    common = int(outputs.support.argmax())
    majority = float(outputs.support[common] / n)
    if accuracy <= majority:
        yield (
            f"The accuracy of {accuracy:.4f} does not beat always answering {labels.names[common]!r}, "
            f"which gives {majority:.4f} on these pictures."
        )
    absent = [name for name, count in zip(labels.names, outputs.support, strict=True) if count == 0]
    if absent:
        named = ", ".join(repr(name) for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
        yield f"{len(absent)} of {len(labels)} classes have no pictures here: {named}. Nothing is known about them."
    if accuracy in (0.0, 1.0):
        kind = "right" if accuracy else "wrong"
        # The rule of three: with 0 errors in n, a 95 % upper bound of their share (Hanley and Lippman-Hand 1983).
        yield (
            f"All {n} pictures are {kind}, so the intervals by resampling have no width; "
            f"by the rule of three, up to {min(1.0, 3 / n):.1%} may still be otherwise."
        )
