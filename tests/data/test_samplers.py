"""Every picture once an epoch, the same whatever the number of processes; no rank ever waits for another."""

import itertools

import numpy as np
import pytest

from zoo.data.samplers import StepPlan, evaluation_shares, order, sample_seed, steps_per_epoch

SHAPES = list(itertools.product([1, 2, 7, 24, 25], [1, 4, 5, 8], [1, 2, 3], [1, 2, 3]))


def test_an_epoch_is_a_permutation_of_its_own():
    for seed, epoch in itertools.product([0, 1, 2**32 - 1], [0, 1, 50]):
        assert sorted(order(100, seed, epoch)) == list(range(100))
    distinct = {tuple(order(100, seed, epoch)) for seed, epoch in itertools.product(range(4), range(4))}
    assert len(distinct) == 16


def test_the_order_is_the_same_in_every_version_of_numpy_and_on_every_machine():
    assert order(10, 0, 0).tolist() == [9, 2, 4, 7, 5, 0, 8, 6, 3, 1]
    assert order(0, 0, 0).dtype == np.int64


def test_every_place_is_equally_likely():
    firsts = np.bincount([order(5, 0, epoch)[0] for epoch in range(2000)], minlength=5)
    assert abs(firsts - 400).max() < 90  # five standard deviations of a binomial count


def test_seeds_of_pictures_differ():
    seeds = {sample_seed(seed, epoch, index) for seed, epoch, index in itertools.product(range(10), range(10), range(10))}
    assert len(seeds) == 1000
    assert max(seeds) < 2**63


@pytest.mark.parametrize(("count", "size", "steps"), [(1, 1, 1), (1, 8, 1), (8, 8, 1), (9, 8, 2), (1259, 32, 40)])
def test_steps_per_epoch(count, size, steps):
    assert steps_per_epoch(count, size) == steps


@pytest.mark.parametrize(("count", "batch_size", "world", "accumulate"), SHAPES)
def test_ranks_in_turn_are_the_whole_batch(count, batch_size, world, accumulate):
    alone = StepPlan(count, batch_size, seed=3)
    ranks = [StepPlan(count, batch_size, 3, rank, world, accumulate) for rank in range(world)]
    for step in range(3 * alone.steps_per_epoch):
        (whole,) = alone.shares(step)
        shares = [plan.shares(step) for plan in ranks]
        real = [share.indices[share.weights == 1] for own in shares for share in own]
        assert np.concatenate(real).tolist() == whole.indices.tolist()
        assert {plan.step_size(step) for plan in ranks} == {len(whole.indices)}
        assert sum(share.weights.sum() for own in shares for share in own) == len(whole.indices)
        (micro_batches,) = {len(own) for own in shares}
        assert micro_batches <= accumulate
        assert all(len(share.indices) for own in shares for share in own)
        sizes = [len(share.indices) for own in shares for share in own]
        assert max(sizes) - min(sizes) <= 1 or micro_batches > 1
    epochs = [
        np.concatenate([alone.batch(step) for step in range(start, start + alone.steps_per_epoch)])
        for start in (0, alone.steps_per_epoch)
    ]
    assert all(sorted(one) == list(range(count)) for one in epochs)


def test_no_rank_gets_more_micro_batches_than_it_must():
    plan = StepPlan(count=8, batch_size=8, seed=0, world=2, accumulate=3)
    assert [len(share.indices) for share in plan.shares(0)] == [2, 1, 1]


@pytest.mark.parametrize(("count", "batch_size", "world"), list(itertools.product([1, 2, 5, 8, 13], [1, 3, 8], [1, 2, 3, 4])))
def test_evaluation_covers_every_picture_in_equal_shares(count, batch_size, world):
    ranks = [evaluation_shares(count, batch_size, rank, world) for rank in range(world)]
    assert len({tuple(len(share.indices) for share in own) for own in ranks}) == 1
    indices = np.concatenate([share.indices for own in ranks for share in own])
    weights = np.concatenate([share.weights for own in ranks for share in own])
    assert sorted(indices[weights == 1]) == list(range(count))
    assert set(indices.tolist()) == set(range(count))
    if world == 1:
        assert indices.tolist() == list(range(count))
