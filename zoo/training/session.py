"""A run from its options to its best model: data, backbone, plan, loop. What is published of it is the next floor's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from zoo import folders, registry, runs
from zoo.adaptation import saved_config, transfer
from zoo.config import FinetuneConfig, Resolved, marked
from zoo.data import notices
from zoo.data.splits import Splits, open_splits, read_splits
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.options import NAMES_CODE
from zoo.runs import Run
from zoo.training import fit, launch, precision
from zoo.types import Labels, Task

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


def start(resolved: Resolved, extras: Extras, held: ExitStack) -> Session:
    """Train a new run. Raises: ZooError; what was set up only to fail is removed again.

    held: takes the lock of the run, for whoever finishes it.
    """
    resolved = settle(resolved)
    config = resolved.config
    own_workers = config.machine.processes > 1 and launch.launched_processes() == 1
    if own_workers and (extras or config.model.head not in registry.heads(installed=True)):
        raise ConfigError("data sets, heads and metrics that are Python objects cannot reach new processes; use torchrun instead")
    if own_workers and (here := registered_here(config)):
        raise ConfigError(f"{here} is registered in this process alone; write it as module:function, or use torchrun instead")
    splits = labelled(extras.splits or open_splits(config), config)
    resolved, metric = by_task(resolved, splits, extras.metric)
    config = resolved.config
    if resolved.origins["data"] == "default":
        say(f"no --data: training on the built-in digits; give a folder to train on your own {splits.facts.kind.nouns}")
    announce(splits)
    machine = None if own_workers else launch.accelerator(config)
    run = _create(resolved, splits, machine)
    is_main = machine is None or machine.is_main_process
    lock = held.enter_context(runs.alone(run)) if is_main else None
    try:
        with runs.resumable(run):
            if machine is None:
                launch.run_workers(run.path, config.machine.processes, lock)
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


def resume(run: Run, extras: Extras, lock: int | None = None) -> Session:
    """Go on with a run from its newest checkpoint, or from the start if it has none.

    lock: that of the run (`runs.alone`), which the first process holds.

    Raises: CheckpointError if the data are no longer those that the run began with.
    """
    config = run.resolved().config
    if config.data.data == CUSTOM_DATA and extras.splits is None:
        raise ConfigError(f"{run.path} was trained on data sets given in Python; resume it from Python with the same ones")
    splits = labelled(extras.splits or open_splits(config), config)
    _, metric = by_task(run.resolved(), splits, extras.metric)
    if splits.facts.sha256 != read_splits(run.path / "splits.json").sha256:
        raise CheckpointError(
            f"{config.data.data}: the {splits.facts.kind.nouns}, or how config.yaml splits them, are not those that {run.path} began with; "
            "start a new run"
        )
    if config.machine.processes > 1 and launch.launched_processes() == 1:
        with runs.resumable(run):
            launch.run_workers(run.path, config.machine.processes, lock)
        return Session(run, splits, metric, True)
    machine = launch.accelerator(config)
    if machine.is_main_process:
        for folder in (run.path, run.checkpoints):
            folders.sweep(folder)
    machine.wait_for_everyone()
    with runs.resumable(run):
        fit.train_run(run, splits, metric, machine)
    return Session(run, splits, metric, machine.is_main_process)


CUSTOM_DATA = "python:datasets"
"""What `data` is called in the config of a run on data sets that were given in Python."""


def settle(resolved: Resolved) -> Resolved:
    """Decide what was left to the machine: device, precision, processes. Raises: ConfigError."""
    machine = resolved.config.machine
    device = precision.resolve_device(machine.device)
    if machine.feature_precision == "auto":
        resolved = resolved.settle("precision", feature_precision="no" if machine.precision == "auto" else machine.precision)
    arithmetic = precision.resolve_precision(machine.precision, device)
    launched = launch.launched_processes()
    if launched > 1 and machine.processes not in (1, launched):
        raise ConfigError(f"--processes {machine.processes}, but {launched} processes were launched")
    for name, value in (("device", device.type), ("precision", arithmetic), ("processes", max(launched, machine.processes))):
        if getattr(resolved.config.machine, name) != value:
            resolved = resolved.settle("machine", **{name: value})
    return resolved


def registered_here(config: FinetuneConfig) -> str | None:
    """The first option of loading whose name no other process knows."""
    values = config.flat()
    return next((name for name in marked(NAMES_CODE) if (value := values[name]) and registry.only_here(name, str(value))), None)


def labelled(splits: Splits, config: FinetuneConfig) -> Splits:
    """The splits with the labels of a head that is to be kept in its order, before those that are new. Raises: CheckpointError."""
    if not config.model.keep_head or config.model.init_from is None:
        return splits
    labels = saved_config.read(Path(config.model.init_from))["labels"]
    return splits.relabelled(transfer.joined(Labels(tuple(labels["names"])), splits.labels)) if labels else splits


def by_task(resolved: Resolved, splits: Splits, metric: Metric | None) -> tuple[Resolved, Metric]:
    """Decide what was left to the task that the data turned out to be, and find the metric. Raises: ConfigError, UnknownName."""
    task, config = splits.task, resolved.config
    if config.data.task == "auto":
        resolved = resolved.settle("data", task=task.value)
    if config.data.bit_depth is None and splits.facts.bit_depth is not None:
        resolved = resolved.settle("data", bit_depth=splits.facts.bit_depth)
    if metric is None and config.selection.metric is None:
        name = metrics.default(task)
        if task is Task.MULTILABEL and not (splits.val.targets.any(axis=0) & ~splits.val.targets.all(axis=0)).all():
            name = "log_loss"
            say("some labels hold for none (or all) of the validation samples, so the best model is chosen by log_loss")
        resolved = resolved.settle("data", metric=name)
    if config.data.class_weights != "none" and task is not Task.CLASSIFICATION:
        raise ConfigError(f"class_weights is for classes, and the task is {task.value}; leave it out")
    if config.optim.label_smoothing > 0 and task is Task.REGRESSION:  # most recipes are written for classes, and serve values too
        say("label_smoothing is for classes, and the task is regression: it is not used")
        resolved = resolved.settle("data", label_smoothing=0.0)
    return resolved, metrics.resolve(metric or resolved.config.selection.metric, task=task)


def announce(splits: Splits) -> None:
    """Say what the data are, and everything about them that a person should know before hours of training."""
    for line in splits.facts.lines(runs.NOTICES):
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
            files = {"splits.json": json.dumps(splits.record(), indent=1), runs.NOTICES: notices.as_csv(splits.facts.notices)}
            run, _ = runs.create(resolved, files)
            paths = [str(run.path)]
        except ZooError as error:
            paths = [error]
    if machine is not None and machine.num_processes > 1:
        broadcast_object_list(paths)
    if isinstance(paths[0], ZooError):
        raise paths[0]
    return runs.open_run(paths[0])
