"""`zoo resume`: an interrupted run, from its newest checkpoint to its card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from zoo import folders, runs
from zoo.data.splits import read_splits
from zoo.errors import CheckpointError, ConfigError
from zoo.jobs import runner
from zoo.jobs.preparing import CUSTOM_DATA, Extras, extras, prepare, say
from zoo.jobs.shipping import Trained, damage, shipped
from zoo.runs import Run
from zoo.training import checkpoint, launch

log = logging.getLogger("zoo")


def resume(run: Run, data: Any, metric: Any, label_names: Sequence[str] | None, keys: Sequence[str] | None) -> Run:
    """Go on with a run and finish it; a finished one whose best model and result are whole is returned as it is.

    Raises: ZooError; Stopped.
    """
    if run.status == "finished":
        problem = damage(run)
        if problem is None:
            return run
        log.warning("%s; it is made again", problem)
    if not checkpoint.steps(run.checkpoints):
        say(f"{run.path}: there is no checkpoint, so the run trains anew from the start")
    with launch.one_run(), runs.alone(run) if launch.is_first() else nullcontext() as lock:
        _, given = extras(run.resolved(), data, metric, label_names, keys)
        return shipped(train(run, given, lock))


def train(run: Run, given: Extras, lock: int | None = None) -> Trained:
    """Train a run from its newest checkpoint, or from the start if it has none.

    lock: that of the run (`runs.alone`), which the first process holds.

    Raises: CheckpointError if the data are no longer those that the run began with.
    """
    resolved = run.resolved()
    config = resolved.config
    if config.data.data == CUSTOM_DATA and given.splits is None:
        raise ConfigError(f"{run.path} was trained on data sets given in Python; resume it from Python with the same ones")
    prepared = prepare(resolved, given)
    splits = prepared.splits
    if splits.facts.sha256 != read_splits(run.path / "splits.json").sha256:
        raise CheckpointError(
            f"{config.data.data}: the {splits.facts.kind.nouns}, or how config.yaml splits them, are not those that {run.path} began with; "
            "start a new run"
        )
    if prepared.own_workers:
        with runs.resumable(run):
            launch.run_workers(run.path, config.machine.processes, lock)
        return Trained(run, splits, prepared.metric, True)
    machine = launch.accelerator(config)
    if machine.is_main_process:
        for folder in (run.path, run.checkpoints):
            folders.sweep(folder)
    machine.wait_for_everyone()
    with runs.resumable(run):
        return runner.train_run(run, prepared, machine)
