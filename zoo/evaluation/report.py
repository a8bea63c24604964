"""The report on a set of samples: every number that tables, cards and figures show, measured in one pass over all outputs.

What a person should know of the numbers beside their values is said in remarks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import ConfigError, DataError
from zoo.evaluation import calibration, class_tables, intervals, metrics, outputs
from zoo.evaluation.array_checks import Ints
from zoo.evaluation.calibration import Bin
from zoo.evaluation.class_tables import ClassRow, Confusion, LabelRow, ValueRow
from zoo.evaluation.metrics.metric import Metric
from zoo.evaluation.outputs import AnyOutputs, MultilabelOutputs, Outputs, Undefined, ValueOutputs
from zoo.types import Labels, Task


@dataclass(frozen=True)
class Baseline:
    """The best that can be had without looking at the samples, and what the model has."""

    metric: str
    """What both are measured by."""
    answer: str
    """The prediction that it always gives: `always predicting the most frequent class`."""
    value: float
    """What that gives on these samples."""
    model: float | None
    """What the model gives; None where it is undefined."""
    higher_is_better: bool

    @property
    def beaten(self) -> bool | None:
        """Whether the model is better, by more than rounding; None where nothing is known."""
        if self.model is None:
            return None
        better = self.model > self.value if self.higher_is_better else self.model < self.value
        return better and not math.isclose(self.model, self.value, rel_tol=1e-9)


def majority(accuracy: float, share: float) -> Baseline:
    """The baseline of classification; `share` is that of the most frequent class."""
    return Baseline("accuracy", "always predicting the most frequent class", share, accuracy, True)


def baseline(outputs: AnyOutputs, found: dict[str, float | None]) -> Baseline:
    """The baseline of the outputs' task; `found` has the values of the metrics by name."""
    if isinstance(outputs, Outputs):
        return majority(float(outputs.correct.mean()), float(outputs.support.max() / len(outputs)))
    if isinstance(outputs, MultilabelOutputs):
        metric, share = "mean_average_precision", float(outputs.support.mean() / len(outputs))
        return Baseline(metric, "giving every sample the same probabilities", share, found[metric], True)
    return Baseline("rmse", "always predicting the mean", float(outputs.targets.std(axis=0).mean()), found["rmse"], False)


def remarks(outputs: AnyOutputs, labels: Labels, against: Baseline) -> Iterator[str]:
    """A sentence for each thing to know."""
    if isinstance(outputs, Outputs):
        yield from _of_classes(outputs, labels, against)
        return
    if against.beaten is False:
        yield f"The {against.metric} of {against.model:.4g} does not beat {against.answer}, which gives {against.value:.4g} here."
    yield from _of_labels(outputs, labels) if isinstance(outputs, MultilabelOutputs) else _of_values(outputs, labels)


def _of_classes(outputs: Outputs, labels: Labels, against: Baseline) -> Iterator[str]:
    accuracy = float(outputs.correct.mean())
    if not against.beaten:
        common = labels.names[int(outputs.support.argmax())]
        yield (
            f"The accuracy of {accuracy:.4f} does not beat always predicting {common!r}, "
            f"which gives {against.value:.4f} on these samples."
        )
    absent = outputs.support == 0
    if absent.any():
        yield f"{absent.sum()} of {len(labels)} classes have no samples here: {_named(labels, absent)}. Nothing is known about them."
    if accuracy in (0.0, 1.0):
        yield _without_width(len(outputs), "samples", "right" if accuracy else "wrong")


def _of_labels(outputs: MultilabelOutputs, labels: Labels) -> Iterator[str]:
    said = outputs.predictions.sum(axis=0)
    absent, everywhere, unsaid = outputs.support == 0, outputs.support == len(outputs), (outputs.support > 0) & (said == 0)
    if absent.any():
        yield f"{absent.sum()} of {len(labels)} labels hold for no sample here: {_named(labels, absent)}. Nothing is known about them."
    if everywhere.any():
        yield f"{everywhere.sum()} of {len(labels)} labels hold for every sample here: {_named(labels, everywhere)}."
    if unsaid.any():
        yield (
            f"{unsaid.sum()} of {len(labels)} labels hold for samples here and are never predicted: {_named(labels, unsaid)}. "
            "Their probabilities do not reach their thresholds."
        )
    if (outputs.targets == outputs.predictions).all():
        yield _without_width(len(outputs), "samples", "right in every label")


def _of_values(outputs: ValueOutputs, labels: Labels) -> Iterator[str]:
    for values, what in ((outputs.targets, "true"), (outputs.predictions, "predicted")):
        constant = np.ptp(values, axis=0) == 0
        if constant.any():
            yield f"Every {what} value is the same for {_named(labels, constant)}, so no correlation with it can be measured."


def _named(labels: Labels, which: NDArray[np.bool_]) -> str:
    """The first five names."""
    names = [repr(labels.names[index]) for index in np.flatnonzero(which)]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _without_width(n: int, what: str, how: str) -> str:
    """The rule of three: with 0 errors in n, a 95 % upper bound of their share (Hanley and Lippman-Hand 1983)."""
    return (
        f"All {n} {what} are {how}, so the intervals by resampling have no width; "
        f"by the rule of three, up to {min(1.0, 3 / n):.1%} may still be otherwise."
    )


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


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a model's outputs are worth on N samples. The tables of other tasks than its own are empty."""

    n: int
    labels: Labels
    """The names of the classes, labels or values."""
    task: Task = Task.CLASSIFICATION
    values: dict[str, Value]
    """By metric name: zoo's own in their order, then the user's."""
    per_class: list[ClassRow] = field(default_factory=list)
    """Of classification, in the order of the labels."""
    per_label: list[LabelRow] = field(default_factory=list)
    """Of multilabel, in the order of the labels."""
    per_value: list[ValueRow] = field(default_factory=list)
    """Of regression, in the order of the labels."""
    confusion: Ints = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    """Of classification, `[C, C] int64`; row: true class, column: predicted class."""
    calibration: list[Bin] = field(default_factory=list)
    """Of classification: the 15 bins of the reliability diagram."""
    baseline: Baseline
    """What can be had without looking, and whether the model has more."""
    warnings: tuple[str, ...]
    """What a reader should know before believing the numbers; a sentence each."""

    def most_confused(self, count: int = 5) -> list[Confusion]:
        """The pairs that are confused most often, the worst first; fewer than `count` if there are no more."""
        errors = self.confusion * (1 - np.eye(len(self.confusion), dtype=np.int64))
        order = np.argsort(-errors, axis=None, kind="stable")[:count]
        pairs = (divmod(int(index), len(errors)) for index in order if errors.flat[index] > 0)
        names, support = self.labels.names, self.confusion.sum(axis=1)
        return [
            Confusion(names[true], names[said], int(errors[true, said]), float(errors[true, said] / support[true]))
            for true, said in pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {
            "n": self.n,
            "task": self.task.value,
            "labels": list(self.labels.names),
            "labels_sha256": self.labels.sha256,
            "values": {name: asdict(value) for name, value in self.values.items()},
            "per_class": [asdict(row) for row in self.per_class],
            "per_label": [asdict(row) for row in self.per_label],
            "per_value": [asdict(row) for row in self.per_value],
            "confusion": self.confusion.tolist(),
            "calibration": [asdict(one) for one in self.calibration],
            "baseline": asdict(self.baseline),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The inverse of `to_dict`, which also reads what was written when all reports were of classification.

        Raises: DataError if the values are not a report's.
        """
        try:
            confusion = np.asarray(values["confusion"], dtype=np.int64)
            return cls(
                n=values["n"],
                labels=Labels(tuple(values["labels"])),
                task=Task(values.get("task", Task.CLASSIFICATION)),
                values={name: Value(**value) for name, value in values["values"].items()},
                per_class=[ClassRow(**row) for row in values["per_class"]],
                per_label=[LabelRow(**row) for row in values.get("per_label", ())],
                per_value=[ValueRow(**row) for row in values.get("per_value", ())],
                confusion=confusion if confusion.size else np.zeros((0, 0), dtype=np.int64),
                calibration=[Bin(**one) for one in values["calibration"]],
                baseline=(
                    Baseline(**values["baseline"])
                    if "baseline" in values
                    else majority(float(np.trace(confusion) / values["n"]), values["majority"])
                ),
                warnings=tuple(values["warnings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a report: {type(error).__name__} {error}; evaluate again") from error


def evaluate(
    targets: ArrayLike,
    logits: ArrayLike,
    labels: Labels,
    *,
    task: Task = Task.CLASSIFICATION,
    thresholds: ArrayLike | None = None,
    extra_metrics: Iterable[Metric] = (),
    intervals: bool = True,
    seed: int = 0,
) -> Report:
    """Report on samples with these `targets` and whose outputs are `logits`, of the shapes that `outputs.from_logits` says.

    All of zoo's metrics of the task are computed, and `extra_metrics`; with `intervals`, each gets a 95 % bootstrap interval, equal
    for the same seed. Nothing is averaged over batches.

    Args:
        labels: the names of the classes, labels or values, one for each column of `logits`.
        thresholds: for multilabel alone: from which probability a label is said to hold, one for all or `[C]`; None: 0.5.

    Raises: DataError if shapes or targets do not fit; NonFinite if a logit is NaN or infinite; ConfigError if a user's metric fails,
    its name is taken, a metric is of another task, or the thresholds do not fit.
    """
    found = outputs.from_logits(task, targets, logits, thresholds)
    columns = np.shape(logits)[1] if np.ndim(logits) > 1 else 1
    if columns != len(labels):
        raise DataError(f"the logits have {columns} columns; expected {len(labels)}, one for each {_NOUNS[task]}")
    values = _values(_wanted(task, extra_metrics), found, intervals, seed)
    against = baseline(found, {name: value.value for name, value in values.items()})
    return Report(
        n=len(found),
        labels=labels,
        task=task,
        values=values,
        baseline=against,
        warnings=tuple(remarks(found, labels, against)),
        **_tables(found, labels),
    )


_NOUNS = {Task.CLASSIFICATION: "class", Task.MULTILABEL: "label", Task.REGRESSION: "value"}


def _tables(found: AnyOutputs, labels: Labels) -> dict[str, Any]:
    """Those of the outputs' task, by the field of the report."""
    if isinstance(found, Outputs):
        return {
            "per_class": class_tables.class_rows(found, labels),
            "confusion": class_tables.confusion(found),
            "calibration": calibration.bins(found),
        }
    if isinstance(found, MultilabelOutputs):
        return {"per_label": class_tables.label_rows(found, labels)}
    return {"per_value": class_tables.value_rows(found, labels)}


def _wanted(task: Task, extra: Iterable[Metric]) -> list[Metric]:
    wanted = metrics.of(task)
    for metric in (metrics.resolve(one, task=task) for one in extra):
        if wanted.setdefault(metric.name, metric) != metric:
            raise ConfigError(f"there are two metrics {metric.name!r}; give one of them another name")
    return list(wanted.values())


def _values(wanted: list[Metric], found: AnyOutputs, with_intervals: bool, seed: int) -> dict[str, Value]:
    points: dict[str, Value] = {}
    defined = []
    for metric in wanted:
        try:
            points[metric.name] = Value(metric.function(found), metric.higher_is_better)
            defined.append(metric)
        except Undefined as reason:
            points[metric.name] = Value(None, metric.higher_is_better, why=str(reason))
    if with_intervals:
        for name, one in intervals.bootstrap(defined, found, seed).items():
            points[name] = replace(
                points[name], low=one.low, high=one.high, why=one.why, resamples=one.resamples, dropped=one.dropped
            )
    return points
