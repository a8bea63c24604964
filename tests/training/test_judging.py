"""Which samples a head is fitted to and judged by: all views of a sample, and its copies, on one side."""

from types import SimpleNamespace

import numpy as np
import pytest

from zoo.data import from_datasets
from zoo.data.splits.folds import groups_of
from zoo.training.probe import pools
from zoo.training.probe.pools import Judged


class Table:
    """Rows in memory, as the cache gives them."""

    def __init__(self, rows):
        self.rows, self.shape = rows, rows.shape

    def __len__(self):
        return len(self.rows)

    def read(self):
        return self.rows


@pytest.fixture
def splits():
    """40 texts of two classes, of which some are the same; the feature of a sample is its number."""
    texts = [f"text {number}" for number in range(30)] + ["the same"] * 10
    return from_datasets([(text, number % 2 if text != "the same" else 1) for number, text in enumerate(texts)], seed=1)


def rows(samples, start, view=0):
    return Table(np.stack([np.arange(start, start + len(samples)), np.full(len(samples), view)], 1).astype(np.float32))


def test_all_views_of_a_sample_are_left_out_where_it_is_judged(splits):
    sets = [splits.train, splits.val]
    starts = [0, len(splits.train)]
    views = [[rows(samples, start, view) for view in (1, 2)] for samples, start in zip(sets, starts, strict=True)]
    plain = [rows(samples, start) for samples, start in zip(sets, starts, strict=True)]
    targets = np.concatenate([samples.targets for samples in sets])
    pool = pools.crossed(targets, groups_of(sets), views, plain, 0, "texts")
    assert len(pool.features) == 2 * len(targets)
    assert (pool.targets == targets[pool.features[:, 0].astype(int)]).all()
    assert sorted(pool.judged) == list(range(len(targets)))
    assert (pool.judged_targets == targets[pool.judged]).all()
    assert (np.concatenate(pool.held)[:, 0] == pool.judged).all()
    assert (np.concatenate(pool.held)[:, 1] == 0).all()
    for fold, held in zip(pool.folds, pool.held, strict=True):
        assert sorted(pool.features[fold][:, 0]) == sorted([*held[:, 0], *held[:, 0]])


def test_identical_samples_are_judged_together(splits):
    sets = [splits.train, splits.val]
    plain = [rows(splits.train, 0), rows(splits.val, len(splits.train))]
    targets = np.concatenate([samples.targets for samples in sets])
    pool = pools.crossed(targets, groups_of(sets), [[one] for one in plain], plain, 0, "texts")
    digests = np.concatenate([samples.digests for samples in sets])
    for digest in np.unique(digests):
        alike = np.flatnonzero(digests == digest)
        assert sum(bool(np.isin(alike, held[:, 0]).any()) for held in pool.held) == 1


def test_without_room_in_memory_the_validation_samples_alone_are_held_out(splits, monkeypatch):
    sets, plain = [splits.train, splits.val], [rows(splits.train, 0), rows(splits.val, len(splits.train))]
    monkeypatch.setattr(pools, "IN_MEMORY", 100)
    targets = np.concatenate([samples.targets for samples in sets])
    assert pools.crossed(targets, groups_of(sets), [[one] for one in plain], plain, 0, "texts") is None
    monkeypatch.undo()
    pool = pools.by_validation([plain[0]], plain[1], splits, refit=[plain[1]])
    assert pool.folds == [slice(len(splits.train), len(splits.train) + len(splits.val))]
    assert pool.refits
    assert (pool.judged_targets == splits.val.targets).all()
    assert not pools.by_validation([plain[0]], plain[1], splits).refits


def test_what_was_judged_is_read_again(tmp_path):
    run = SimpleNamespace(path=tmp_path)
    judged = Judged(np.array([3, 1]), np.float32([[1, 2], [3, 4]]), "on the validation texts")
    pools.write(run, judged)
    again = pools.read(run)
    assert again.words == judged.words
    np.testing.assert_array_equal(again.samples, judged.samples)
    np.testing.assert_array_equal(again.logits, judged.logits)
    (tmp_path / pools.FILE).write_bytes(b"{}")
    with pytest.raises(pools.CheckpointError, match=r"held_out.safetensors: damaged or gone"):
        pools.read(run)
