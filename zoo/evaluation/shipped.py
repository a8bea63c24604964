"""The metrics that come with zoo: plain functions over arrays, on scikit-learn, each with a declared direction.

Most have a second form for the bootstrap, over many resamples at once: a function of the outputs and of `[N, R] float64` weights,
where weight [i, r] says how often picture i occurs in resample r; the answer is `[R] float64`, NaN where that resample has none.
Metrics that average over classes average over those that occur in a resample (a small class is missing from some by chance); on
the whole data they are defined only if every class occurs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.evaluation import calibration
from zoo.evaluation.outputs import Floats, Ints, Outputs, Undefined

RESAMPLES = 1000
"""Resamples of a bootstrap interval (Efron and Tibshirani 1993, section 19.3: 1,000 or more for percentiles)."""
AREA_BUDGET = 400_000_000
"""AUROC costs pictures x classes x resamples; the number of resamples is cut to this product, though never below 100."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good outputs are, and which way is better."""

    name: str
    """How options and reports call it."""
    title: str
    """How people read it, with what it is."""
    higher_is_better: bool
    """Declared, never guessed from the name."""
    function: Callable[[Outputs], float]
    """The value. Raises: Undefined, saying why there is none."""
    needs: Literal["predictions", "probabilities"] = "predictions"
    """What of the outputs it looks at."""
    low: float = 0.0
    """The smallest value it can have."""
    high: float = 1.0
    """The largest value it can have."""
    resampled: Callable[[Outputs, Floats], Floats] | None = None
    """The values of many resamples at once; None: `function` is called for each."""
    resamples: Callable[[Outputs], int] = lambda outputs: RESAMPLES
    """How many resamples its interval takes."""
    biased: bool = False
    """Resamples are larger than the estimate on average; its interval is moved back by the mean difference."""


def _accuracy(outputs: Outputs) -> float:
    return float(outputs.correct.mean())


def _accuracy_resampled(outputs: Outputs, weights: Floats) -> Floats:
    return _mean(outputs.correct, weights)


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray(values @ weights / weights.sum(axis=0), dtype=np.float64)


def _in_top5(outputs: Outputs) -> Floats:
    """1 where fewer than five classes come before the target: those that score higher, and equals with a lower index."""
    if outputs.num_classes < 6:
        raise Undefined(f"top-5 accuracy is always 1 with {outputs.num_classes} classes; it needs 6 or more")
    scores = outputs.scores
    own = scores[np.arange(len(outputs)), outputs.targets][:, None]
    earlier = np.arange(outputs.num_classes)[None, :] < outputs.targets[:, None]
    before = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
    return np.asarray(before < 5, dtype=np.float64)


def _top5(outputs: Outputs) -> float:
    return float(_in_top5(outputs).mean())


def _top5_resampled(outputs: Outputs, weights: Floats) -> Floats:
    return _mean(_in_top5(outputs), weights)


def _every_class(outputs: Outputs) -> None:
    absent = np.flatnonzero(outputs.support == 0)
    if len(absent):
        raise Undefined(f"{len(absent)} of {outputs.num_classes} classes have no pictures here (first: class number {absent[0]})")


def _balanced_accuracy(outputs: Outputs) -> float:
    from sklearn.metrics import recall_score

    _every_class(outputs)
    classes = np.arange(outputs.num_classes)
    return float(recall_score(outputs.targets, outputs.predictions, labels=classes, average="macro", zero_division=0))


def _sums(weights: Floats, groups: Ints, count: int) -> Floats:
    """`[count, R]`: the weights added up by group; `groups` is `[N]` in 0..count-1."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=count)
    filled = sizes > 0
    sums = np.zeros((count, weights.shape[1]))
    if len(groups):
        sums[filled] = np.add.reduceat(weights[order], (np.cumsum(sizes) - sizes)[filled], axis=0)
    return sums


def _counts(outputs: Outputs, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """(right predictions, pictures, predictions) of each class in each resample, `[C, R]` each."""
    right = outputs.correct > 0
    classes = outputs.num_classes
    return (
        _sums(weights[right], outputs.targets[right], classes),
        _sums(weights, outputs.targets, classes),
        _sums(weights, outputs.predictions, classes),
    )


def _over_present(values: Floats, present: Floats) -> Floats:
    """The mean over the classes that occur, for each resample; `[C, R]` to `[R]`."""
    occurs = present > 0
    return np.asarray(np.where(occurs, values, 0).sum(axis=0) / occurs.sum(axis=0), dtype=np.float64)


def _balanced_accuracy_resampled(outputs: Outputs, weights: Floats) -> Floats:
    right, pictures, _ = _counts(outputs, weights)
    return _over_present(right / np.maximum(pictures, 1), pictures)


def _macro_f1(outputs: Outputs) -> float:
    from sklearn.metrics import f1_score

    _every_class(outputs)
    classes = np.arange(outputs.num_classes)
    return float(f1_score(outputs.targets, outputs.predictions, labels=classes, average="macro", zero_division=0))


def _macro_f1_resampled(outputs: Outputs, weights: Floats) -> Floats:
    right, pictures, predicted = _counts(outputs, weights)
    return _over_present(2 * right / np.maximum(pictures + predicted, 1), pictures)


def _micro_f1(outputs: Outputs) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(outputs.targets, outputs.predictions, average="micro"))


def _auroc(outputs: Outputs) -> float:
    from sklearn.metrics import roc_auc_score

    _every_class(outputs)
    if outputs.num_classes < 2:
        raise Undefined("one class alone cannot be told from others")
    probabilities = outputs.probabilities
    areas = [roc_auc_score(outputs.targets == one, probabilities[:, one]) for one in range(outputs.num_classes)]
    return float(np.mean(areas))


def _auroc_resampled(outputs: Outputs, weights: Floats) -> Floats:
    """Area = share of pairs (picture of the class, other picture) in which the first scores higher; ties count one half."""
    total, known = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for one in range(outputs.num_classes):
        own = np.flatnonzero(outputs.targets == one)
        others = np.flatnonzero(outputs.targets != one)
        scores = outputs.probabilities[:, one]
        others = others[np.argsort(scores[others], kind="stable")]
        below = np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(weights[others], axis=0)])
        first = np.searchsorted(scores[others], scores[own], side="left")
        last = np.searchsorted(scores[others], scores[own], side="right")
        won = (weights[own] * (below[first] + below[last])).sum(axis=0) / 2
        pairs = weights[own].sum(axis=0) * below[-1]
        total += np.where(pairs > 0, won / np.maximum(pairs, 1), 0)
        known += pairs > 0
    return np.asarray(np.where(known > 0, total / np.maximum(known, 1), np.nan), dtype=np.float64)


def _auroc_resamples(outputs: Outputs) -> int:
    return min(RESAMPLES, max(100, AREA_BUDGET // (len(outputs) * outputs.num_classes)))


def _surprise(outputs: Outputs) -> Floats:
    """`[N]`: minus the logarithm of the target's probability."""
    return np.asarray(-outputs.scores[np.arange(len(outputs)), outputs.targets], dtype=np.float64)


def _log_loss(outputs: Outputs) -> float:
    return float(_surprise(outputs).mean())


def _log_loss_resampled(outputs: Outputs, weights: Floats) -> Floats:
    return _mean(_surprise(outputs), weights)


def _ece(outputs: Outputs) -> float:
    return calibration.expected_error(calibration.bins(outputs))


def _ece_resampled(outputs: Outputs, weights: Floats) -> Floats:
    confidence = calibration.confidences(outputs)
    gaps = weights * (outputs.correct - confidence)[:, None]
    sums = _sums(gaps, calibration.assign(confidence), calibration.BINS)
    return np.asarray(np.abs(sums).sum(axis=0) / weights.sum(axis=0), dtype=np.float64)


SHIPPED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy: share of right predictions", True, _accuracy, resampled=_accuracy_resampled),
        Metric(
            "top5_accuracy", "top-5 accuracy: share of pictures whose class is among the five most probable (6 classes or more)",
            True, _top5, needs="probabilities", resampled=_top5_resampled,
        ),
        Metric(
            "balanced_accuracy", "balanced accuracy: mean over the classes of the share that is found",
            True, _balanced_accuracy, resampled=_balanced_accuracy_resampled,
        ),
        Metric("macro_f1", "macro F1: mean over the classes of F1", True, _macro_f1, resampled=_macro_f1_resampled),
        Metric(
            "micro_f1", "micro F1: F1 of all decisions together; equals accuracy where each picture has one class",
            True, _micro_f1, resampled=_accuracy_resampled,
        ),
        Metric(
            "auroc", "AUROC: mean over the classes of the area under the curve, one class against the rest",
            True, _auroc, needs="probabilities", resampled=_auroc_resampled, resamples=_auroc_resamples,
        ),
        Metric(
            "log_loss", "log-loss: mean of -ln(probability of the true class); 0 is best",
            False, _log_loss, needs="probabilities", high=float("inf"), resampled=_log_loss_resampled,
        ),
        Metric(
            "ece", "expected calibration error: mean gap between confidence and accuracy over 15 bins; 0 is best",
            False, _ece, needs="probabilities", resampled=_ece_resampled, biased=True,
        ),
    )
}  # fmt: skip
"""Every metric of zoo's own by name, in the order of reports."""
