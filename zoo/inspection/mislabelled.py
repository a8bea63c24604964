"""Confident learning: labels that are likely wrong, from predictions of a model that has not seen them.

Northcutt, Jiang, Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, arxiv.org/abs/1911.00068, section 3.
The cleanlab library, by the first author, counts alike (compared in the tests).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.data.sets import Integers

Probabilities = NDArray[np.floating]
"""`[N, C]`, each row out of fold: by a model that was fitted without the sample and its duplicates."""

_ROUNDING = 1e-6
"""A probability that is so little below its threshold has reached it."""


def thresholds(labels: Integers, probabilities: Probabilities) -> NDArray[np.float64]:
    """`[C]`: the mean probability of a class among the samples that carry its label; infinite for a class without samples.

    Some classes are predicted with more confidence than others; each is measured by its own.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, minlength=classes)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    return means


def confident_classes(labels: Integers, probabilities: Probabilities) -> Integers:
    """`[N]`: the class that a sample confidently belongs to; -1 for none.

    Of the classes whose probability reaches their threshold, the most probable.
    """
    reached = probabilities >= thresholds(labels, probabilities) - _ROUNDING
    best = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1)


def confident_joint(labels: Integers, probabilities: Probabilities) -> NDArray[np.int64]:
    """`[C, C]`: how many samples carry the label of the row and confidently belong to the class of the column."""
    classes = probabilities.shape[1]
    confident = confident_classes(labels, probabilities)
    sure = confident >= 0
    pairs = labels[sure] * classes + confident[sure]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def likely_errors(labels: Integers, probabilities: Probabilities) -> tuple[Integers, Integers]:
    """The samples that confidently belong to another class than their label's, and that class of each.

    Ranked by self-confidence, the probability of the label, lowest first: the likeliest errors lead. A sample whose label is the most
    probable class after all is none of them.
    """
    confident = confident_classes(labels, probabilities)
    wrong = np.flatnonzero((confident >= 0) & (confident != labels) & (probabilities.argmax(axis=1) != labels))
    ranked = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")]
    return ranked, confident[ranked]
