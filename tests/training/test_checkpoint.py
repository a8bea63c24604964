"""Checkpoints, the best so far, and patience."""

import itertools
import json
import math
import random

import pytest
import torch

from zoo.config import build
from zoo.errors import CheckpointError, OutputError
from zoo.training import checkpoint
from zoo.training.checkpoint import Best, Patience, TrainState

IDENTITY = {"data": "d1", "labels": "l1"}


def state(step=3, value=0.5):
    return TrainState(Best("accuracy", True, value, 2), Patience(3, 0.01, True, 0.5, 1), step, 2, 1.5)


def write(parent, step=3):
    tensors = {"head.weight": torch.arange(6.0).reshape(2, 3).t(), "stats": torch.tensor(7)}
    return checkpoint.write(parent, state(step), tensors, {"head.weight/exp_avg": torch.ones(3, 2)}, IDENTITY)


def test_what_is_written_is_read_back(tmp_path):
    found = checkpoint.read(write(tmp_path), IDENTITY)
    assert found.state == state()
    assert torch.equal(found.model["head.weight"], torch.arange(6.0).reshape(2, 3).t())
    assert torch.equal(found.optimizer["head.weight/exp_avg"], torch.ones(3, 2))


def test_there_is_no_pickle_inside(tmp_path):
    names = {path.name for path in write(tmp_path).iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_the_newest_whole_one_is_taken_and_damage_is_passed_over(tmp_path, caplog):
    for step in (3, 6, 9, 12):
        write(tmp_path, step)
    (tmp_path / "step-00000012" / "manifest.json").unlink()
    data = bytearray((tmp_path / "step-00000009" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "step-00000009" / "model.safetensors").write_bytes(data)
    found = checkpoint.newest(tmp_path, IDENTITY)
    assert found is not None
    assert found.state.step == 6
    assert "step-00000012" in caplog.text
    assert "model.safetensors: damaged" in caplog.text


def test_none_that_can_be_used_is_an_error_and_none_at_all_is_none(tmp_path):
    assert checkpoint.newest(tmp_path / "missing", IDENTITY) is None
    (write(tmp_path) / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"state.json: damaged"):
        checkpoint.newest(tmp_path, IDENTITY)


def test_another_runs_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="another labels"):
        checkpoint.read(write(tmp_path), IDENTITY | {"labels": "l2"})


def with_options(parent, step=3, **changes):
    """A checkpoint of a run with these options beside the defaults, and its identity."""
    identity = IDENTITY | {checkpoint.OPTIONS: build(changes).flat()}
    tensors = {"head.weight": torch.ones(2)}
    return checkpoint.write(parent, state(step), tensors, {"head.weight/exp_avg": torch.ones(2)}, identity), identity


def test_an_option_that_differs_is_named_once_with_what_to_do(tmp_path, caplog):
    folder, identity = with_options(tmp_path, lr=0.001)
    with_options(tmp_path, 6, lr=0.001)
    assert checkpoint.read(folder, identity)
    changed = identity | {checkpoint.OPTIONS: identity[checkpoint.OPTIONS] | {"lr": 0.5}}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.newest(tmp_path, changed)
    assert str(caught.value).endswith(
        "step-00000006: made with other options than config.yaml now has: lr is 0.001 there and 0.5 here; put it back, or start a new run"
    )
    assert caplog.text == ""
    changed[checkpoint.OPTIONS] |= {"momentum": 0.5, "seed": 7, "clip": 1.0}
    with pytest.raises(
        CheckpointError, match=r"momentum is 0\.9 there and 0\.5 here, clip is None there .*\.\.\.; put them back"
    ):
        checkpoint.read(folder, changed)


def test_an_option_that_came_later_had_its_default(tmp_path):
    folder, identity = with_options(tmp_path)
    file = folder / "state.json"
    written = json.loads(file.read_text())
    del written["identity"][checkpoint.OPTIONS]["momentum"]
    file.write_text(json.dumps(written))
    checkpoint.folders.relist(folder, "state.json")
    assert checkpoint.read(folder, identity)
    with pytest.raises(CheckpointError, match=r"momentum is 0\.9 there and 0\.5 here"):
        checkpoint.read(folder, identity | {checkpoint.OPTIONS: identity[checkpoint.OPTIONS] | {"momentum": 0.5}})
    del written["identity"][checkpoint.OPTIONS]
    file.write_text(json.dumps(written))
    checkpoint.folders.relist(folder, "state.json")
    with pytest.raises(
        CheckpointError, match="written by an earlier version of zoo; go on with that version, or start a new run"
    ):
        checkpoint.read(folder, identity)


def test_a_pickle_under_the_right_name_is_refused(tmp_path):
    folder = write(tmp_path)
    torch.save({"a": torch.ones(1)}, folder / "model.safetensors")
    entries = json.loads((folder / "manifest.json").read_text())
    path = folder / "model.safetensors"
    entries["model.safetensors"] = {"size": path.stat().st_size, "sha256": checkpoint.folders.sha256(path)}
    (folder / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.read(folder, IDENTITY)


def test_pruning_keeps_the_newest(tmp_path):
    for step in (5, 100, 20, 3):
        write(tmp_path, step)
    checkpoint.prune(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [20, 100]


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path):
    """A limit on the size of files stands for the full disk; the second checkpoint breaks off in its tensors."""
    import resource

    write(tmp_path, 3)
    big = {"w": torch.zeros(1 << 18)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OutputError, match="step-00000006 cannot be written"):
            checkpoint.write(tmp_path, state(6), big, {}, IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert checkpoint.steps(tmp_path) == [3]
    assert checkpoint.read(tmp_path / "step-00000003", IDENTITY).state.step == 3
    assert not list(tmp_path.glob(".*"))


class TestBest:
    def run(self, values, higher=True):
        best = Best("m", higher)
        for step, value in enumerate(values):
            if best.better(value):
                best.value, best.step = value, step
        return best.step

    def test_the_peak_in_the_middle_wins(self):
        assert self.run([0.1, 0.9, 0.5]) == 1
        assert self.run([0.9, 0.1, 0.5], higher=False) == 1

    def test_a_tie_keeps_the_earlier(self):
        assert self.run([0.5, 0.9, 0.9]) == 1

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
    def test_what_is_not_finite_never_wins(self, bad):
        assert self.run([bad, 0.1, bad]) == 1
        assert self.run([bad, bad]) is None
        assert self.run([0.1, bad], higher=False) == 0

    def test_against_a_plain_search(self):
        for seed, higher in itertools.product(range(200), (True, False)):
            values = [random.Random(seed).choice([0.1, 0.2, 0.3, math.nan]) for _ in range(6)]
            finite = [value for value in values if not math.isnan(value)]
            expected = values.index((max if higher else min)(finite)) if finite else None
            assert self.run(values, higher) == expected


class TestPatience:
    def steps_until_stop(self, values, limit, min_delta=0.0, higher=True):
        patience = Patience(limit, min_delta, higher)
        return next((step for step, value in enumerate(values) if patience.update(value)), None)

    def test_stops_after_so_many_without_a_gain(self):
        assert self.steps_until_stop([0.5, 0.4, 0.4, 0.4], limit=2) == 2

    def test_a_gain_resets_it(self):
        assert self.steps_until_stop([0.5, 0.4, 0.6, 0.5, 0.5], limit=2) == 4

    def test_small_gains_add_up(self):
        rising = [0.5 + 0.005 * step for step in range(20)]
        assert self.steps_until_stop(rising, limit=3, min_delta=0.01) is None

    def test_lower_is_better(self):
        assert self.steps_until_stop([1.0, 0.9, 0.8, 0.8, 0.8], limit=2, higher=False) == 4

    def test_nan_counts_as_no_gain_and_no_limit_never_stops(self):
        assert self.steps_until_stop([0.5, math.nan, math.nan], limit=2) == 2
        assert self.steps_until_stop([0.5] * 50, limit=None) is None
