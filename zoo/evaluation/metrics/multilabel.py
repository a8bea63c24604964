"""The metrics of multilabel that come with zoo. As in `shipped`: means over labels are of those that occur in a resample, and on the
whole data they are defined only if every label occurs."""

from __future__ import annotations

from functools import partial

import numpy as np

from zoo.evaluation.array_checks import Floats, Ints
from zoo.evaluation.metrics.metric import Metric, area, fewer, mean, over_present, whole
from zoo.evaluation.outputs import MultilabelOutputs, Undefined
from zoo.types import Task


def _every_label(outputs: MultilabelOutputs) -> None:
    _none(outputs, np.flatnonzero(outputs.support == 0), "hold for no sample")


def _no_label_everywhere(outputs: MultilabelOutputs) -> None:
    _none(outputs, np.flatnonzero(outputs.support == len(outputs)), "hold for every sample")


def _none(outputs: MultilabelOutputs, found: Ints, what: str) -> None:
    if len(found):
        raise Undefined(f"{len(found)} of {outputs.num_labels} labels {what} here (first: label number {found[0]})")


def _average_precision(outputs: MultilabelOutputs) -> float:
    _every_label(outputs)
    return whole(_average_precision_resampled, outputs)


def _average_precision_resampled(outputs: MultilabelOutputs, weights: Floats) -> Floats:
    """Of each label: the mean, over the samples that have it, of the precision among those that score as high; equals count as one."""
    found = []
    for one in range(outputs.num_labels):
        scores, own = outputs.scores[:, one], outputs.targets[:, one]
        order = np.argsort(-scores, kind="stable")
        last = np.searchsorted(-scores[order], -scores[own == 1], side="right") - 1
        above = np.cumsum(weights[order], axis=0)
        right = np.cumsum(weights[order] * own[order, None], axis=0)
        precisions = right[last] / np.maximum(above[last], 1)
        found.append((weights[own == 1] * precisions).sum(axis=0) / np.maximum(weights[own == 1].sum(axis=0), 1))
    return over_present(np.stack(found), _support(outputs, weights))


def _support(outputs: MultilabelOutputs, weights: Floats) -> Floats:
    """`[C, R]`: for how many samples of each resample each label holds."""
    return np.asarray(outputs.targets.T @ weights, dtype=np.float64)


def _f1_parts(outputs: MultilabelOutputs, weights: Floats) -> tuple[Floats, Floats]:
    """(right, samples with the label and predictions of it together), `[C, R]` each; F1 is twice the first by the second."""
    right = (outputs.targets * outputs.predictions).T @ weights
    return right, _support(outputs, weights) + outputs.predictions.T @ weights


def _macro_f1(outputs: MultilabelOutputs) -> float:
    _every_label(outputs)
    return float(_macro_f1_resampled(outputs, _once(outputs))[0])


def _once(outputs: MultilabelOutputs) -> Floats:
    """The weights `[N, 1]` of the resample that is the samples themselves."""
    return np.ones((len(outputs), 1))


def _macro_f1_resampled(outputs: MultilabelOutputs, weights: Floats) -> Floats:
    right, both = _f1_parts(outputs, weights)
    return over_present(2 * right / np.maximum(both, 1), _support(outputs, weights))


def _micro_f1(outputs: MultilabelOutputs) -> float:
    if not (outputs.targets.any() or outputs.predictions.any()):
        raise Undefined("no label holds for any sample, and none is predicted")
    return float(_micro_f1_resampled(outputs, _once(outputs))[0])


def _micro_f1_resampled(outputs: MultilabelOutputs, weights: Floats) -> Floats:
    right, both = (part.sum(axis=0) for part in _f1_parts(outputs, weights))
    return np.asarray(np.where(both > 0, 2 * right / np.maximum(both, 1), np.nan), dtype=np.float64)


def _auroc(outputs: MultilabelOutputs) -> float:
    _every_label(outputs)
    _no_label_everywhere(outputs)
    return whole(_auroc_resampled, outputs)


def _auroc_resampled(outputs: MultilabelOutputs, weights: Floats) -> Floats:
    areas, pairs = zip(
        *(
            area(np.flatnonzero(own == 1), np.flatnonzero(own == 0), scores, weights)
            for own, scores in zip(outputs.targets.T, outputs.scores.T, strict=True)
        ),
        strict=True,
    )
    return over_present(np.stack(areas), np.stack(pairs))


def _sorted_resamples(outputs: MultilabelOutputs) -> int:
    return fewer(outputs.targets.size)


def _all_right(outputs: MultilabelOutputs) -> Floats:
    """`[N]`: 1 where every label is right."""
    return np.asarray((outputs.targets == outputs.predictions).all(axis=1), dtype=np.float64)


def _wrong(outputs: MultilabelOutputs) -> Floats:
    """`[N]`: the share of the labels that is wrong."""
    return np.asarray((outputs.targets != outputs.predictions).mean(axis=1), dtype=np.float64)


def _surprise(outputs: MultilabelOutputs) -> Floats:
    """`[N]`: minus the logarithm of the probability of what is true of each label, its mean over the labels."""
    signed = np.where(outputs.targets == 1, -outputs.scores, outputs.scores)
    return np.asarray(np.logaddexp(0, signed).mean(axis=1), dtype=np.float64)


_metric = partial(Metric, task=Task.MULTILABEL)
SHIPPED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric(
            "mean_average_precision",
            "mean average precision: mean over the labels of the area under precision and recall; needs no thresholds",
            True, _average_precision, needs="probabilities", resampled=_average_precision_resampled, resamples=_sorted_resamples,
        ),
        _metric("macro_f1", "macro F1: mean over the labels of F1", True, _macro_f1, resampled=_macro_f1_resampled),
        _metric("micro_f1", "micro F1: F1 of all decisions together", True, _micro_f1, resampled=_micro_f1_resampled),
        _metric(
            "auroc", "AUROC: mean over the labels of the area under the curve",
            True, _auroc, needs="probabilities", resampled=_auroc_resampled, resamples=_sorted_resamples,
        ),
        _metric(
            "subset_accuracy", "subset accuracy: share of samples of which every label is right",
            True, lambda outputs: float(_all_right(outputs).mean()),
            resampled=lambda outputs, weights: mean(_all_right(outputs), weights),
        ),
        _metric(
            "hamming_loss", "Hamming loss: share of all decisions that are wrong; 0 is best",
            False, lambda outputs: float(_wrong(outputs).mean()), resampled=lambda outputs, weights: mean(_wrong(outputs), weights),
        ),
        _metric(
            "log_loss", "log-loss: mean over samples and labels of -ln(probability of what is true); 0 is best",
            False, lambda outputs: float(_surprise(outputs).mean()), needs="probabilities", high=float("inf"),
            resampled=lambda outputs, weights: mean(_surprise(outputs), weights),
        ),
    )
}  # fmt: skip
"""The metrics of multilabel by name, in the order of reports."""
