"""Whether probabilities mean what they say: the bins of the reliability diagram, and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.evaluation.checked import Floats, Ints
from zoo.evaluation.outputs import Outputs

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
