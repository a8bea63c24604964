"""Folds that keep duplicates together, and predictions of heads that have not seen what they predict."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from zoo.inspection import measures, samples
from zoo.inspection.samples import FOLDS
from zoo.training.probe import sweep


def names(count):
    return [f"all/{number}.png" for number in range(count)]


def test_folds_are_even_in_each_class_and_decided_by_names():
    labels = np.repeat([0, 1], [50, 23])
    found = samples.assign(labels, names(73), [], 0)
    for label in (0, 1):
        counts = np.bincount(found[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    order = np.random.default_rng(0).permutation(73)
    assert (samples.assign(labels[order], [names(73)[index] for index in order], [], 0) == found[order]).all()
    assert (samples.assign(labels, names(73), [], 1) != found).any()


def test_duplicates_share_a_fold():
    labels = np.tile([0, 1], 30)
    groups = [np.array([3, 10, 44]), np.array([0, 1]), np.array([1, 58])]
    found = samples.assign(labels, names(60), groups, 0)
    assert len(set(found[[3, 10, 44]])) == 1
    assert len(set(found[[0, 1]])) == 1
    assert (found >= 0).all()


def test_a_class_with_fewer_different_samples_than_folds_is_left_out():
    labels = np.repeat([0, 1, 2], [20, 20, 6])
    found = samples.assign(labels, names(46), [np.array([40, 41, 42])], 0)
    assert (found[:40] >= 0).all()
    assert (found[40:] == -1).all()


def test_probabilities_are_those_of_scikit_learn():
    """Each fold by its LogisticRegression on standardised features; the strength by the first fold."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    rows = (rng.normal(0, 1, (240, 6)) + 0.8 * np.eye(3, 6)[labels]).astype(np.float32) * [1, 2, 3, 4, 5, 60] + 7
    rows = rows.astype(np.float32)
    numbers = np.arange(240) % FOLDS

    def theirs(fold, strength):
        train, held = rows[numbers != fold], rows[numbers == fold]
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        model = LogisticRegression(C=1 / (len(train) * strength), tol=1e-8, max_iter=5000)
        model.fit((train - mean) / deviation, labels[numbers != fold])
        return model.predict_proba((held - mean) / deviation)

    strength = min(sweep.STRENGTHS, key=lambda one: log_loss(labels[numbers == 0], theirs(0, one)))
    expected = np.empty((240, 3))
    for fold in range(FOLDS):
        expected[numbers == fold] = theirs(fold, strength)
    assert samples.out_of_fold(rows, labels, numbers) == pytest.approx(expected, abs=2e-3)


def test_flipped_labels_of_digits_are_found():
    """40 of 1,000 labels are made wrong; the pixels are the features."""
    rows, true = load_digits(return_X_y=True)
    rows, true = rows[:1000].astype(np.float32), true[:1000]
    rng = np.random.default_rng(0)
    flipped = rng.choice(1000, 40, replace=False)
    labels = true.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, 40)) % 10
    probabilities = samples.out_of_fold(rows, labels, samples.assign(labels, names(1000), [], 0))
    wrong, likely = measures.likely_errors(labels, probabilities)
    hits = np.isin(wrong, flipped)
    assert hits.sum() >= 30
    assert hits.mean() >= 0.85
    assert (likely[hits] == true[wrong[hits]]).mean() >= 0.9
