"""A run from its options to its best model: data, backbone, plan, loop. What is published of it is the next floor's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from zoo import folders, registry, runs
from zoo.config import Resolved
from zoo.data.splits import Splits, open_splits
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.runs import Run
from zoo.training import fit, launch, precision

log = logging.getLogger("zoo")


@dataclass(frozen=True)
class Extras:
    """What Python callers may pass that no file can hold."""

    splits: Splits | None = None
    metric: Metric | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.splits, self.metric))


@dataclass(frozen=True)
class Session:
    """A run that has been trained, with what it was trained on."""

    run: Run
    splits: Splits
    metric: Metric
    is_main: bool
    """Whether this process is the one that writes."""


def start(resolved: Resolved, extras: Extras) -> Session:
    """Train a new run. Raises: ZooError; what was set up only to fail is removed again."""
    resolved = settle(resolved)
    config = resolved.config
    own_workers = config.machine.processes > 1 and launch.launched_processes() == 1
    if own_workers and (extras or config.model.head not in registry.heads(installed=True)):
        raise ConfigError("data sets, heads and metrics that are Python objects cannot reach new processes; use torchrun instead")
    metric = extras.metric or metrics.resolve(config.selection.metric)
    splits = extras.splits or open_splits(config)
    if resolved.origins["data"] == "default":
        say("no --data: training on the built-in digits; give a folder to train on your own pictures")
    announce(splits)
    machine = None if own_workers else launch.accelerator(config)
    run = _create(resolved, splits, machine)
    is_main = machine is None or machine.is_main_process
    try:
        if machine is None:
            launch.run_workers(run.path, config.machine.processes)
        else:
            fit.train_run(run, splits, metric, machine)
    except (ZooError, OSError):
        if is_main and run.status == "empty":
            shutil.rmtree(run.path, ignore_errors=True)
            if config.output.out is None:
                with contextlib.suppress(OSError):  # other runs lie in it
                    run.path.parent.rmdir()
        raise
    return Session(run, splits, metric, is_main)


def resume(run: Run, extras: Extras) -> Session:
    """Go on with a run from its newest checkpoint, or from the start if it has none.

    Raises: CheckpointError if the data are no longer those that the run began with.
    """
    config = run.resolved().config
    if config.data.data == CUSTOM_DATA and extras.splits is None:
        raise ConfigError(f"{run.path} was trained on data sets given in Python; resume it from Python with the same ones")
    metric = extras.metric or metrics.resolve(config.selection.metric)
    splits = extras.splits or open_splits(config)
    began_with = json.loads((run.path / "splits.json").read_text(encoding="utf-8"))["sha256"]
    if splits.facts.sha256 != began_with:
        raise CheckpointError(f"{config.data.data}: the pictures are not those that {run.path} began with; start a new run")
    if config.machine.processes > 1 and launch.launched_processes() == 1:
        launch.run_workers(run.path, config.machine.processes)
        return Session(run, splits, metric, True)
    machine = launch.accelerator(config)
    if machine.is_main_process:
        for folder in (run.path, run.checkpoints):
            folders.sweep(folder)
    machine.wait_for_everyone()
    fit.train_run(run, splits, metric, machine)
    return Session(run, splits, metric, machine.is_main_process)


CUSTOM_DATA = "python:datasets"
"""What `data` is called in the config of a run on data sets that were given in Python."""


def settle(resolved: Resolved) -> Resolved:
    """Decide what was left to the machine: device, precision, processes, workers. Raises: ConfigError."""
    machine = resolved.config.machine
    device = precision.resolve_device(machine.device)
    arithmetic = precision.resolve_precision(machine.precision, device)
    launched = launch.launched_processes()
    if launched > 1 and machine.processes not in (1, launched):
        raise ConfigError(f"--processes {machine.processes}, but {launched} processes were launched")
    for name, value in (("device", device.type), ("precision", arithmetic), ("processes", max(launched, machine.processes))):
        if getattr(resolved.config.machine, name) != value:
            resolved = resolved.settle("machine", **{name: value})
    if resolved.config.data.num_workers is None:
        spare = (os.cpu_count() or 1) // resolved.config.machine.processes - 1
        resolved = resolved.settle("machine", num_workers=min(max(spare, 1), 8))
    return resolved


def announce(splits: Splits) -> None:
    """Say what the data are, and everything about them that a person should know before hours of training."""
    for line in splits.facts.lines():
        say(line)


def say(line: str) -> None:
    """A line for people, once where several processes run."""
    if os.environ.get("RANK", "0") == "0":
        log.info("%s", line)


def _create(resolved: Resolved, splits: Splits, machine: Accelerator | None) -> Run:
    """Make the run's directory, once for all ranks."""
    paths: list[Any] = [None]
    if machine is None or machine.is_main_process:
        try:
            run, _ = runs.create(resolved)
            folders.write_text(run.path / "splits.json", json.dumps(splits.record(), indent=1))
            paths = [str(run.path)]
        except ZooError as error:
            paths = [error]
    if machine is not None and machine.num_processes > 1:
        broadcast_object_list(paths)
    if isinstance(paths[0], ZooError):
        raise paths[0]
    return runs.open_run(paths[0])
