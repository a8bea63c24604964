"""From which probability a label is said to hold: what suits each label best, measured on samples that were not trained on."""

from __future__ import annotations

import numpy as np

from zoo.evaluation.checked import Floats, Ints
from zoo.evaluation.outputs import THRESHOLD, MultilabelOutputs


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
