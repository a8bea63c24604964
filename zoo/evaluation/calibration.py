"""Whether probabilities mean what they say: the reliability diagram, the expected calibration error, and the best thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.evaluation.array_checks import Floats, Ints
from zoo.evaluation.outputs import THRESHOLD, MultilabelOutputs, Outputs

BINS = 15
"""Bins of equal width over 0..1, as in Guo et al. 2017, arxiv.org/abs/1706.04599, section 2 and table 1."""


@dataclass(frozen=True)
class Bin:
    """The samples whose highest probability p has low < p <= high (the first bin holds 0 too)."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Mean highest probability; None for an empty bin."""
    accuracy: float | None
    """Share of right predictions; None for an empty bin."""


def confidences(outputs: Outputs) -> Floats:
    """`[N] float64`: the highest probability of each sample."""
    return np.asarray(outputs.probabilities.max(axis=1), dtype=np.float64)


def assign(confidence: Floats) -> Ints:
    """`[N] int64` in 0..14: the bin of each confidence."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def bins(outputs: Outputs) -> list[Bin]:
    """The 15 bins of a reliability diagram, the lowest confidence first."""
    confidence = confidences(outputs)
    number = assign(confidence)
    found = []
    for index in range(BINS):
        inside = number == index
        count = int(inside.sum())
        mean = float(confidence[inside].mean()) if count else None
        right = float(outputs.correct[inside].mean()) if count else None
        found.append(Bin(index / BINS, (index + 1) / BINS, count, mean, right))
    return found


def expected_error(diagram: list[Bin]) -> float:
    """Mean gap between confidence and accuracy, in 0..1, each bin weighted by its samples (Guo et al. 2017, equation 3)."""
    total = sum(one.count for one in diagram)
    return sum(
        one.count / total * abs(one.accuracy - one.confidence)
        for one in diagram
        if one.accuracy is not None and one.confidence is not None
    )


def best_thresholds(outputs: MultilabelOutputs) -> Floats:
    """`[C] float64`: for each label the threshold of the highest F1 on these outputs; of equals, the one nearest to 0.5.

    Candidates are 0, 0.5 and the middles between neighbouring probabilities: a threshold far from every probability that was seen is
    one that small changes of the outputs do not cross. A label that holds for no sample keeps 0.5. The F1 that they reach on the very
    outputs they were chosen by is optimistic: measure on others. (Where probabilities are calibrated, the best threshold is half the
    F1 that it reaches, so rare labels want low ones: Lipton et al. 2014, arxiv.org/abs/1402.1892.)

    Raises: DataError where only predictions are known.
    """
    return np.array([_best(own, shares) for own, shares in zip(outputs.targets.T, outputs.probabilities.T, strict=True)])


def _best(own: Ints, shares: Floats) -> float:
    support = int(own.sum())
    if not support:
        return THRESHOLD
    ascending = np.argsort(shares, kind="stable")
    ordered = shares[ascending]
    candidates = np.append(_middles(ordered), (0.0, THRESHOLD))
    below = np.searchsorted(ordered, candidates, side="left")
    missed = np.append(0, np.cumsum(own[ascending]))[below]
    f1 = 2 * (support - missed) / (support + len(own) - below)
    best = candidates[f1 == f1.max()]
    return float(best[np.abs(best - THRESHOLD).argmin()])


def _middles(ordered: Floats) -> Floats:
    """The middles between neighbours among 0 and the ascending probabilities: each tells those below it from the others."""
    distinct = np.unique(np.append(0.0, ordered))
    lower, upper = distinct[:-1], distinct[1:]
    middles = (lower + upper) / 2
    return np.asarray(np.where(middles > lower, middles, upper), dtype=np.float64)  # of two adjacent numbers there is no middle
