"""Likely label errors against the definitions of Northcutt et al. 2021 (arxiv.org/abs/1911.00068)."""

import numpy as np
import pytest

from zoo.inspection import measures


def drawn(seed, count=400, classes=4, noise=0.15):
    """Labels of which some are wrong, and probabilities that mostly know better."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, count)
    labels = np.where(rng.random(count) < noise, rng.integers(0, classes, count), true)
    scores = rng.normal(0, 1, (count, classes))
    scores[np.arange(count), true] += 2.5
    powers = np.exp(scores)
    return labels, powers / powers.sum(axis=1, keepdims=True)


def test_by_hand():
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.45, 0.55]])
    wrong, likely = measures.likely_errors(labels, probabilities)
    assert (wrong.tolist(), likely.tolist()) == ([2], [1])


@pytest.mark.parametrize("seed", range(3))
def test_as_the_paper_counts(seed):
    """Its equations 1 and 2, sample by sample: those off the diagonal of the joint, but those whose label is the most probable class."""
    labels, probabilities = drawn(seed)
    means = [probabilities[labels == one, one].mean() for one in range(4)]
    expected = {}
    for index, (label, row) in enumerate(zip(labels, probabilities, strict=True)):
        reached = [one for one in range(4) if row[one] >= means[one]]
        if reached and max(reached, key=lambda one: row[one]) != label and row.argmax() != label:
            expected[index] = int(row.argmax())
    wrong, likely = measures.likely_errors(labels, probabilities)
    assert dict(zip(wrong.tolist(), likely.tolist(), strict=True)) == expected
    assert len(expected) > 10


def test_errors_are_ranked_by_the_probability_of_the_label():
    labels, probabilities = drawn(1)
    wrong, likely = measures.likely_errors(labels, probabilities)
    own = probabilities[wrong, labels[wrong]]
    assert (np.diff(own) >= 0).all()
    assert (likely != labels[wrong]).all()


def test_labels_of_which_none_is_doubted():
    labels = np.array([0, 0, 1, 1])
    wrong, likely = measures.likely_errors(labels, np.eye(2)[labels])
    assert (wrong.tolist(), likely.tolist()) == ([], [])
