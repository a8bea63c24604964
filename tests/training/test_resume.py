"""Runs that are killed, stopped or interrupted go on as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from faults.running import OPTIONS as SHORT_OPTIONS
from faults.running import photos
from safetensors.torch import save_file

from zoo import api, folders
from zoo.cli import main
from zoo.data import open_splits
from zoo.errors import CheckpointError, RunFailed
from zoo.runs import Run

OPTIONS = {
    "backbone": "timm/test_vit.r160_in1k",
    "weights": "random",
    "strategy": "full",
    "image_size": 32,
    "drop_path": 0.2,
    "augment": "light",
    "epochs": 2,
    "batch_size": 100,
    "lr": 1e-3,
    "precision": "no",
    "checkpoint_every": 3,
    "tensorboard": False,
    "num_workers": 0,
}
"""Dropping paths and augmenting images at random, with several checkpoints an epoch; 26 steps."""
SHORT = {**SHORT_OPTIONS, "tensorboard": False}
DIVERGING = {"lr": 100.0, "optimizer": "sgd", "clip": 1e9}


def command(out, **changes):
    flags = {**OPTIONS, "out": out, **changes}
    backbone = flags.pop("backbone")
    words = [
        f"--{'' if value is not False else 'no-'}{name.replace('_', '-')}"
        for name, value in flags.items()
        if isinstance(value, bool)
    ]
    for name, value in flags.items():
        if not isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return [sys.executable, "-m", "zoo", "finetune", backbone, *words]


def weights(run):
    return folders.sha256(Path(run) / "best" / "model.safetensors")


def last_checkpoint(run):
    steps = sorted((Path(run) / "checkpoints").glob("step-*"))
    return folders.sha256(steps[-1] / "model.safetensors"), folders.sha256(steps[-1] / "optimizer.safetensors")


def lines(run):
    timeless = ("seconds", "samples_per_second", "waiting")
    found = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in timeless} for line in found]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    api.finetune(**OPTIONS, out=str(out))
    return out


def start_and_kill(out, checkpoints, **changes):
    """Kill a run with SIGKILL as soon as it has so many checkpoints behind it."""
    target = f"step-{3 * checkpoints:08d}"
    with subprocess.Popen(command(out, **changes), stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any(path.name >= target for path in (out / "checkpoints").glob("step-*")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "result.json").exists()


@pytest.mark.parametrize("checkpoints", [1, 3, 6])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, unbroken, checkpoints):
    start_and_kill(tmp_path / "run", checkpoints)
    # Workers are not part of what is computed, so the second sitting may have another number of them.
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("num_workers: 0", "num_workers: 2"))
    run = api.resume(tmp_path / "run")
    assert run.status == "finished"
    assert last_checkpoint(tmp_path / "run") == last_checkpoint(unbroken)
    assert weights(tmp_path / "run") == weights(unbroken)
    assert lines(tmp_path / "run") == lines(unbroken)


IMPROVING = {**SHORT, "metric": "log_loss", "eval_every": 1 / 3}
"""Each of its three evaluations is the best so far."""
_DIES = """
import json, os, signal, sys
from zoo import api
left = int(sys.argv[2])
def hear(event, arguments):
    global left
    if event == "os.rename" and str(arguments[1]).endswith("/best"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hear)
api.finetune(**json.loads(sys.argv[1]))
"""
"""Killed when a folder is about to become `best/`, at the time whose number it is given."""


@pytest.fixture(scope="module")
def improving(tmp_path_factory):
    """The options of such a run, and the run when nothing disturbed it."""
    folder = tmp_path_factory.mktemp("improving")
    options = {**IMPROVING, "data": photos(folder / "photos")}
    run = api.finetune(**options, out=str(folder / "run"))
    assert [line["best"] for line in run.metrics()] == [True, True, True]
    return options, run.path


@pytest.mark.parametrize("left", ["that of an earlier step", "nothing"])
def test_a_kill_between_a_checkpoint_and_its_best_is_mended(tmp_path, improving, left):
    """The checkpoint is the last: no step comes that would write `best/` anew."""
    options, undisturbed = improving
    out = tmp_path / "run"
    words = [sys.executable, "-c", _DIES, json.dumps({**options, "out": str(out)}), "3"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    newest = sorted((out / "checkpoints").iterdir())[-1]
    state = json.loads((newest / "state.json").read_text())["state"]
    assert state["best"]["step"] == state["step"] == 6
    assert not (out / "best").exists()
    earlier = json.loads((out / ".old-best" / "config.json").read_text())["zoo"]
    assert earlier["facts"]["step"] == 4
    if left == "nothing":
        shutil.rmtree(out / ".old-best")
    api.resume(out)
    assert weights(out) == weights(undisturbed)
    assert lines(out) == lines(undisturbed)


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, unbroken):
    out = tmp_path / "run"
    with subprocess.Popen(
        command(out), stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        while process.poll() is None and not list((out / "checkpoints").glob("step-*")):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert f"zoo resume {out}" in said.splitlines()[-1]
    api.resume(out)
    assert weights(out) == weights(unbroken)


def test_ctrl_c_reaches_every_process(tmp_path):
    out = tmp_path / "run"
    words = command(out, processes=2, epochs=200)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while process.poll() is None and not list((out / "checkpoints").glob("step-*")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert f"zoo resume {out}" in said.splitlines()[-1]
    newest = sorted((out / "checkpoints").iterdir())[-1]
    assert folders.verify(newest)


def test_a_finished_run_is_left_alone(unbroken):
    before = (unbroken / "result.json").stat().st_mtime_ns
    assert api.resume(unbroken).value is not None
    assert (unbroken / "result.json").stat().st_mtime_ns == before


def test_an_edited_option_is_named_with_what_to_do(tmp_path, capsys):
    out = tmp_path / "run"
    start_and_kill(out, 2)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.5"))
    assert main(["resume", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("lr is 0.001 there and 0.5 here; put it back, or start a new run") == 1
    assert "passed over" not in said


def stopped(options, out):
    """A run that is as if it had been killed before its last checkpoint."""
    run = api.finetune(**options, out=str(out))
    (out / "result.json").unlink()
    *before, last = sorted(run.checkpoints.iterdir())
    assert before
    shutil.rmtree(last)
    return out


def test_other_data_are_refused_by_the_run_and_by_its_checkpoints(tmp_path):
    """By the checkpoints, too, where the run's record of its data was put in step."""
    data = tmp_path / "photos"
    out = stopped({**SHORT, "data": photos(data)}, tmp_path / "run")
    image = min((data / "train" / "a").iterdir())
    shutil.copyfile(min((data / "train" / "b").iterdir()), image)
    with pytest.raises(CheckpointError, match="are not those that .*run began with"):
        api.resume(out)
    splits = open_splits(Run(out).resolved().config)
    (out / "splits.json").write_text(json.dumps(splits.record()))
    with pytest.raises(CheckpointError, match="belongs to another data"):
        api.resume(out)


def test_other_base_weights_are_refused(tmp_path):
    base = tmp_path / "base.safetensors"

    def write(seed):
        torch.manual_seed(seed)
        save_file(timm.create_model("test_vit.r160_in1k").state_dict(), base)

    write(0)
    options = {**SHORT, "data": photos(tmp_path / "photos"), "weights": str(base)}
    out = stopped(options, tmp_path / "run")
    write(1)
    with pytest.raises(CheckpointError, match="belongs to another base weights"):
        api.resume(out)


def test_a_time_limit_stops_evaluates_and_publishes(tmp_path):
    run = api.finetune(**{**OPTIONS, "epochs": 10_000}, out=str(tmp_path / "run"), max_minutes=0.02)
    result = run.result()
    assert 0 < result["steps"] < 13 * 10_000
    assert run.metrics()[-1]["step"] == result["steps"]
    assert (run.best / "README.md").is_file()


def test_patience_stops_the_run(tmp_path):
    run = api.finetune(**{**OPTIONS, "epochs": 50}, out=str(tmp_path / "run"), patience=2, min_delta=0.9)
    assert [line["step"] for line in run.metrics()] == [13, 26, 39]


def test_a_loss_that_is_not_finite_is_said_with_its_step(tmp_path):
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) at step \d+ \(images digits/"):
        api.finetune(**{**OPTIONS, **DIVERGING}, out=str(tmp_path / "run"))


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_fails_ends_with_status_1(tmp_path, capsys, processes):
    assert main(command(tmp_path / "run", **DIVERGING, processes=processes)[3:]) == 1
    assert "the loss is" in capsys.readouterr().err.splitlines()[-1]
