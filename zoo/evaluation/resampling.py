"""The arithmetic of many resamples at once, which metrics share.

`weights` is `[N, R] float64`: how often sample i occurs in resample r. Answers have one value, or one column, for each resample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.evaluation.checked import Floats, Ints


def whole(resampled: Callable[[Any, Floats], Floats], outputs: Any) -> float:
    """The value of the outputs as they are, where each occurs once."""
    return float(resampled(outputs, np.ones((len(outputs), 1)))[0])


def mean(values: Floats, weights: Floats) -> Floats:
    """`[R]`: the mean of `[N]` values; or `[K, R]` of `[K, N]`."""
    return np.asarray(values @ weights / weights.sum(axis=0), dtype=np.float64)


def sums(weights: Floats, groups: Ints, count: int) -> Floats:
    """`[count, R]`: the weights added up by group; `groups` is `[N]` in 0..count-1."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=count)
    filled = sizes > 0
    added = np.zeros((count, weights.shape[1]))
    if len(groups):
        added[filled] = np.add.reduceat(weights[order], (np.cumsum(sizes) - sizes)[filled], axis=0)
    return added


def over_present(values: Floats, present: Floats) -> Floats:
    """`[R]`: the mean of `[C, R]` over the classes that occur, of which there is `present` `[C, R]`; NaN where none does."""
    occurs = present > 0
    known = occurs.sum(axis=0)
    return np.asarray(
        np.where(known > 0, np.where(occurs, values, 0).sum(axis=0) / np.maximum(known, 1), np.nan), dtype=np.float64
    )


def area(own: Ints, others: Ints, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """`[R]` and `[R]`: the area under the curve of `[N]` scores that tell the rows `own` from `others`, and the pairs that it is of.

    Area = share of pairs (own, other) in which the first scores higher; ties count one half; 0 where there are no pairs.
    """
    others = others[np.argsort(scores[others], kind="stable")]
    below = np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(weights[others], axis=0)])
    first = np.searchsorted(scores[others], scores[own], side="left")
    last = np.searchsorted(scores[others], scores[own], side="right")
    won = (weights[own] * (below[first] + below[last])).sum(axis=0) / 2
    pairs = weights[own].sum(axis=0) * below[-1]
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0), pairs
