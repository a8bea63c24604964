"""Confident learning against the definitions of Northcutt et al. 2021, and against the cleanlab library where it is installed."""

import numpy as np
import pytest
from cleanlab import count
from cleanlab import filter as filters

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
    assert measures.thresholds(labels, probabilities) == pytest.approx([1.8 / 3, 1.25 / 2])
    assert measures.confident_classes(labels, probabilities).tolist() == [0, 0, 1, 1, -1]
    assert measures.confident_joint(labels, probabilities).tolist() == [[2, 1], [0, 1]]
    wrong, likely = measures.likely_errors(labels, probabilities)
    assert (wrong.tolist(), likely.tolist()) == ([2], [1])


def test_joint_as_the_paper_counts():
    """Its equations 1 and 2, sample by sample."""
    labels, probabilities = drawn(0)
    means = [probabilities[labels == one, one].mean() for one in range(4)]
    joint = np.zeros((4, 4), int)
    for label, row in zip(labels, probabilities, strict=True):
        reached = [one for one in range(4) if row[one] >= means[one]]
        if reached:
            joint[label, max(reached, key=lambda one: row[one])] += 1
    assert (measures.confident_joint(labels, probabilities) == joint).all()
    assert joint.sum() - joint.trace() > 10


def test_errors_are_ranked_by_the_probability_of_the_label():
    labels, probabilities = drawn(1)
    wrong, likely = measures.likely_errors(labels, probabilities)
    own = probabilities[wrong, labels[wrong]]
    assert (np.diff(own) >= 0).all()
    assert (likely != labels[wrong]).all()
    assert len(wrong) > 10


def test_a_class_without_samples_is_nobodys_class():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.1, 0.1, 0.8]] * 4)
    assert (measures.confident_classes(labels, probabilities) < 2).all()


@pytest.mark.parametrize("seed", range(3))
def test_as_cleanlab_finds(seed):
    """Its filter `confident_learning`. Of several classes that are reached it takes the most probable of all, which is one of them here."""
    labels, probabilities = drawn(seed)
    assert count.get_confident_thresholds(labels, probabilities) == pytest.approx(measures.thresholds(labels, probabilities))
    theirs = filters.find_label_issues(
        labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    ours, _ = measures.likely_errors(labels, probabilities)
    assert ours.tolist() == theirs.tolist()
    joint = count.compute_confident_joint(labels, probabilities, calibrate=False)
    assert (measures.confident_joint(labels, probabilities) == joint).all()
