"""Runs that are killed, stopped or interrupted go on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo import api, folders
from zoo.errors import CheckpointError, RunFailed

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
"""Dropping paths and augmenting pictures at random, with several checkpoints an epoch; 26 steps."""


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


def test_a_kill_between_a_checkpoint_and_its_best_is_mended(tmp_path, unbroken):
    start_and_kill(tmp_path / "run", 5)
    best = tmp_path / "run" / "best"
    if best.exists():
        best.rename(tmp_path / "gone")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    api.resume(tmp_path / "run")
    assert newest.name < "step-00000026"
    assert weights(tmp_path / "run") == weights(unbroken)


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


def test_another_run_s_checkpoint_is_refused(tmp_path):
    out = tmp_path / "run"
    start_and_kill(out, 2)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.5"))
    with pytest.raises(CheckpointError, match="another set of options"):
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
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) at step \d+ \(pictures digits/"):
        api.finetune(**{**OPTIONS, "lr": 100.0, "optimizer": "sgd", "clip": None}, out=str(tmp_path / "run"))
