"""What a reader should know before believing the numbers: what an answer without looking is worth, and what was not measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.evaluation.outputs import AnyOutputs, MultilabelOutputs, Outputs, ValueOutputs
from zoo.types import Labels


@dataclass(frozen=True)
class Baseline:
    """The best that can be had without looking at the samples, and what the model has."""

    metric: str
    """What both are measured by."""
    answer: str
    """What is answered without looking, as in `always answering the most frequent class`."""
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
    return Baseline("accuracy", "always answering the most frequent class", share, accuracy, True)


def baseline(outputs: AnyOutputs, found: dict[str, float | None]) -> Baseline:
    """The baseline of the outputs' task; `found` has the values of the metrics by name."""
    if isinstance(outputs, Outputs):
        return majority(float(outputs.correct.mean()), float(outputs.support.max() / len(outputs)))
    if isinstance(outputs, MultilabelOutputs):
        metric, share = "mean_average_precision", float(outputs.support.mean() / len(outputs))
        return Baseline(metric, "giving every sample the same probabilities", share, found[metric], True)
    return Baseline("rmse", "always answering the mean", float(outputs.targets.std(axis=0).mean()), found["rmse"], False)


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
            f"The accuracy of {accuracy:.4f} does not beat always answering {common!r}, "
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
