"""What a metric is: a plain function over arrays, with a declared direction; and the arithmetic of many resamples that metrics share.

Most have a second form for the bootstrap, over many resamples at once: a function of the outputs and of `[N, R] float64` weights,
where weight [i, r] says how often sample i occurs in resample r; its result is `[R] float64`, NaN where that resample has none.
Metrics that average over classes average over those that occur in a resample (a small class is missing from some by chance); on
the whole data they are defined only if every class occurs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zoo.evaluation.array_checks import Floats, Ints
from zoo.types import Task

RESAMPLES = 1000
"""Resamples of a bootstrap interval (Efron and Tibshirani 1993, section 19.3: 1,000 or more for percentiles)."""


AREA_BUDGET = 400_000_000
"""An area under a curve costs samples x classes x resamples; the number of resamples is cut to this product, though never below 100."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good outputs are, and which way is better."""

    name: str
    """How options and reports call it."""
    title: str
    """How people read it, with what it is."""
    higher_is_better: bool
    """Declared, never guessed from the name."""
    function: Callable[[Any], float]
    """The value, of outputs of its task. Raises: Undefined, saying why there is none."""
    needs: Literal["predictions", "probabilities"] = "predictions"
    """What of the outputs it looks at."""
    low: float = 0.0
    """The smallest value it can have."""
    high: float = 1.0
    """The largest value it can have."""
    resampled: Callable[[Any, Floats], Floats] | None = None
    """The values of many resamples at once; None: `function` is called for each."""
    resamples: Callable[[Any], int] = lambda outputs: RESAMPLES
    """How many resamples its interval takes."""
    biased: bool = False
    """Resamples are larger than the estimate on average; its interval is moved back by the mean difference."""
    task: Task | None = None
    """The task that it is for. None: any, as a user's own; it then gets what that task's outputs hold."""


def fewer(cells: int) -> int:
    """Resamples for a metric that sorts: `cells` is samples x classes."""
    return min(RESAMPLES, max(100, AREA_BUDGET // cells))


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
