"""The metrics of classification that come with zoo."""

from __future__ import annotations

from functools import partial

import numpy as np

from zoo.evaluation import calibration
from zoo.evaluation.array_checks import Floats
from zoo.evaluation.metrics.metric import Metric, area, fewer, mean, over_present, sums, whole
from zoo.evaluation.outputs import Outputs, Undefined
from zoo.types import Task


def _accuracy(outputs: Outputs) -> float:
    return float(outputs.correct.mean())


def _accuracy_resampled(outputs: Outputs, weights: Floats) -> Floats:
    return mean(outputs.correct, weights)


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
    return mean(_in_top5(outputs), weights)


def _every_class(outputs: Outputs) -> None:
    absent = np.flatnonzero(outputs.support == 0)
    if len(absent):
        raise Undefined(f"{len(absent)} of {outputs.num_classes} classes have no samples here (first: class number {absent[0]})")


def _balanced_accuracy(outputs: Outputs) -> float:
    _every_class(outputs)
    return whole(_balanced_accuracy_resampled, outputs)


def _counts(outputs: Outputs, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """(right predictions, samples, predictions) of each class in each resample, `[C, R]` each."""
    right = outputs.correct > 0
    classes = outputs.num_classes
    return (
        sums(weights[right], outputs.targets[right], classes),
        sums(weights, outputs.targets, classes),
        sums(weights, outputs.predictions, classes),
    )


def _balanced_accuracy_resampled(outputs: Outputs, weights: Floats) -> Floats:
    right, samples, _ = _counts(outputs, weights)
    return over_present(right / np.maximum(samples, 1), samples)


def _macro_f1(outputs: Outputs) -> float:
    _every_class(outputs)
    return whole(_macro_f1_resampled, outputs)


def _macro_f1_resampled(outputs: Outputs, weights: Floats) -> Floats:
    right, samples, predicted = _counts(outputs, weights)
    return over_present(2 * right / np.maximum(samples + predicted, 1), samples)


def _auroc(outputs: Outputs) -> float:
    _every_class(outputs)
    if outputs.num_classes < 2:
        raise Undefined("one class alone cannot be told from others")
    return whole(_auroc_resampled, outputs)


def _auroc_resampled(outputs: Outputs, weights: Floats) -> Floats:
    areas, pairs = zip(
        *(
            area(
                np.flatnonzero(outputs.targets == one),
                np.flatnonzero(outputs.targets != one),
                outputs.probabilities[:, one],
                weights,
            )
            for one in range(outputs.num_classes)
        ),
        strict=True,
    )
    return over_present(np.stack(areas), np.stack(pairs))


def _auroc_resamples(outputs: Outputs) -> int:
    return fewer(outputs.probabilities.size)


def _surprise(outputs: Outputs) -> Floats:
    """`[N]`: minus the logarithm of the target's probability."""
    return np.asarray(-outputs.scores[np.arange(len(outputs)), outputs.targets], dtype=np.float64)


def _log_loss(outputs: Outputs) -> float:
    return float(_surprise(outputs).mean())


def _log_loss_resampled(outputs: Outputs, weights: Floats) -> Floats:
    return mean(_surprise(outputs), weights)


def _ece(outputs: Outputs) -> float:
    return calibration.expected_error(calibration.bins(outputs))


def _ece_resampled(outputs: Outputs, weights: Floats) -> Floats:
    confidence = calibration.confidences(outputs)
    gaps = weights * (outputs.correct - confidence)[:, None]
    added = sums(gaps, calibration.assign(confidence), calibration.BINS)
    return np.asarray(np.abs(added).sum(axis=0) / weights.sum(axis=0), dtype=np.float64)


_metric = partial(Metric, task=Task.CLASSIFICATION)
SHIPPED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("accuracy", "accuracy: share of right predictions", True, _accuracy, resampled=_accuracy_resampled),
        _metric(
            "top5_accuracy", "top-5 accuracy: share of samples whose class is among the five most probable (6 classes or more)",
            True, _top5, needs="probabilities", resampled=_top5_resampled,
        ),
        _metric(
            "balanced_accuracy", "balanced accuracy: mean over the classes of the share that is found",
            True, _balanced_accuracy, resampled=_balanced_accuracy_resampled,
        ),
        _metric("macro_f1", "macro F1: mean over the classes of F1", True, _macro_f1, resampled=_macro_f1_resampled),
        _metric(
            "micro_f1", "micro F1: F1 of all decisions together; equals accuracy where each sample has one class",
            True, _accuracy, resampled=_accuracy_resampled,
        ),
        _metric(
            "auroc", "AUROC: mean over the classes of the area under the curve, one class against the rest",
            True, _auroc, needs="probabilities", resampled=_auroc_resampled, resamples=_auroc_resamples,
        ),
        _metric(
            "log_loss", "log-loss: mean of -ln(probability of the true class); 0 is best",
            False, _log_loss, needs="probabilities", high=float("inf"), resampled=_log_loss_resampled,
        ),
        _metric(
            "ece", "expected calibration error: mean gap between confidence and accuracy over 15 bins; 0 is best",
            False, _ece, needs="probabilities", resampled=_ece_resampled, biased=True,
        ),
    )
}  # fmt: skip
"""The metrics of classification by name, in the order of reports."""
