"""Folds: every class in each, groups whole, and nothing judged by a model that never saw its class."""

import numpy as np
import pytest

from zoo.data.splits.folds import assign


def test_every_class_is_spread_evenly():
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(7), [50, 23, 11, 5, 4, 2, 1]))
    folds = assign(targets, np.arange(len(targets)), 5, seed=0)
    for label, count in enumerate([50, 23, 11, 5, 4, 2]):
        sizes = np.bincount(folds[targets == label], minlength=5)
        assert sizes.sum() == count
        assert np.ptp(sizes) <= 1
    assert folds[targets == 6].tolist() == [-1], "of one sample, nothing could be learnt without it"
    assert np.ptp(np.bincount(folds[folds >= 0])) <= 1


def test_groups_stay_together_and_a_class_of_one_group_is_in_no_fold():
    targets = np.array([0] * 10 + [1] * 10 + [2] * 4)
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 0, *range(7, 16), 20, 20, 20, 20])
    folds = assign(targets, groups, 3, seed=1)
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    assert (folds[targets == 2] == -1).all()
    assert (folds[targets < 2] >= 0).all()


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 20)[:, None], np.eye(20)[:, :3]])
def test_targets_without_classes_are_spread_at_random(targets):
    folds = assign(targets, np.arange(20), 4, seed=0)
    assert np.bincount(folds).tolist() == [5, 5, 5, 5]
    assert (folds == assign(targets, np.arange(20), 4, seed=0)).all()
    assert (folds != assign(targets, np.arange(20), 4, seed=1)).any()
