"""A run from its options to its best model: data, backbone, plan, loop. What is published of it is the next floor's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import accelerate
import timm
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from zoo import backbones, folders, registry, runs, strategy
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig, Resolved
from zoo.data import loaders, transforms
from zoo.data.splits import Splits, open_splits
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.runs import Run
from zoo.training import checkpoint, launch, loop, precision
from zoo.training.loop import Job
from zoo.training.trackers import MetricsFile, TensorBoard, Terminal, Tracker

log = logging.getLogger("zoo")

_PRACTICAL = {"num_workers", "out", "tensorboard", "keep", "checkpoint_every", "max_minutes", "device", "processes", "weights"}
"""Options that do not change what is computed (the weights have a digest of their own)."""


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
    machine = None if own_workers else launch.accelerator(config, train_buffers=_trains_buffers(config))
    run = _create(resolved, splits, machine)
    is_main = machine is None or machine.is_main_process
    try:
        if machine is None:
            launch.run_workers(run.path, config.machine.processes)
        else:
            train_run(run, splits, metric, machine)
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
    machine = launch.accelerator(config, train_buffers=_trains_buffers(config))
    if machine.is_main_process:
        for folder in (run.path, run.checkpoints):
            folders.sweep(folder)
    machine.wait_for_everyone()
    train_run(run, splits, metric, machine)
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


def train_run(run: Run, splits: Splits, metric: Metric, machine: Accelerator) -> None:
    """Build everything for a run and train it; leaves `training.json` for the next floor."""
    resolved = run.resolved()
    model = build_model(resolved.config, splits)
    if resolved.config.model.image_size is None:
        resolved = resolved.settle("backbone", image_size=model.backbone.preprocess.size)
        if machine.is_main_process:
            runs.write_config(run, resolved)
    job = make_job(resolved.config, splits, model, metric, machine)
    if machine.is_main_process:
        log.info("%s", model.plan.summary())
    trackers = _trackers(run, job) if machine.is_main_process else []
    try:
        state = loop.train(job, run, machine, trackers)
    finally:
        for tracker in trackers:
            tracker.close()
    if machine.is_main_process:
        values = {
            "seconds": round(state.seconds, 3),
            "steps": state.step,
            "epochs": round(state.step / job.steps_per_epoch, 4),
            "best_step": state.best.step,
            "trained_tensors": len(model.plan.tensors),
            "trained_parameters": model.plan.count,
            "trains": model.plan.summary(),
            "environment": environment(machine),
        }
        folders.write_text(run.path / "training.json", json.dumps(values, indent=1))
    machine.wait_for_everyone()


def build_model(config: FinetuneConfig, splits: Splits) -> AdaptedModel:
    """The backbone with its weights, the head and the plan, as the config states them. Raises: WeightsError, ConfigError."""
    chosen = config.model
    spec = registry.resolve(chosen.backbone)
    seed = config.machine.seed
    backbone = backbones.load(spec, chosen.weights, image_size=chosen.image_size, drop_path=chosen.drop_path, seed=seed)
    if chosen.weights == "random":
        log.warning("weights random: %s starts untrained; this is a baseline, not transfer learning", chosen.backbone)
    return AdaptedModel.build(
        backbone,
        len(splits.labels),
        head=chosen.head,
        strategy=strategy.parse(chosen.strategy),
        labels=splits.labels,
        lora_alpha=chosen.lora_alpha,
        lora_dropout=chosen.lora_dropout,
        lora_targets=chosen.lora_targets,
        seed=seed,
    )


def make_job(config: FinetuneConfig, splits: Splits, model: AdaptedModel, metric: Metric, machine: Accelerator) -> Job:
    """Loaders and identity around a model."""
    preprocess = model.backbone.preprocess
    workers = config.data.num_workers or 0
    train = loaders.TrainBatches(
        splits.train,
        transforms.train_transform(preprocess, config.data.augment),
        batch_size=config.optim.batch_size,
        accumulate=config.optim.accumulate,
        seed=config.machine.seed,
        rank=machine.process_index,
        world=machine.num_processes,
        num_workers=workers,
        pin_memory=machine.device.type == "cuda",
        at_least=preprocess.decode_at,
    )
    val = loaders.EvalBatches(
        splits.val,
        preprocess.geometry(),
        batch_size=max(1, config.optim.batch_size // machine.num_processes),
        rank=machine.process_index,
        world=machine.num_processes,
        num_workers=workers,
        pin_memory=machine.device.type == "cuda",
        at_least=preprocess.decode_at,
    )
    return Job(
        config=config,
        model=model,
        train=train,
        val=val,
        metric=metric,
        identity=identity(config, splits, model),
    )


def identity(config: FinetuneConfig, splits: Splits, model: AdaptedModel) -> dict[str, str]:
    """Digests of all that a checkpoint belongs to."""
    kept: Mapping[str, Any] = {name: value for name, value in config.flat().items() if name not in _PRACTICAL}
    return {
        "base weights": model.backbone.base_sha256,
        "data": splits.facts.sha256,
        "labels": splits.labels.sha256,
        "set of options": hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest(),
    }


def environment(machine: Accelerator) -> dict[str, str]:
    """Versions and hardware, for the card."""
    gpu = torch.cuda.get_device_name() if machine.device.type == "cuda" else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "accelerate": accelerate.__version__,
        "device": gpu or f"CPU, {os.cpu_count()} cores",
        "precision": machine.mixed_precision,
        "processes": str(machine.num_processes),
    }


def _trains_buffers(config: FinetuneConfig) -> bool:
    return strategy.parse(config.model.strategy).kind == "full"


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


def _trackers(run: Run, job: Job) -> list[Tracker]:
    """metrics.jsonl, the terminal, and TensorBoard; what an interrupted run wrote after its last checkpoint is dropped."""
    found = checkpoint.newest(run.checkpoints, job.identity)
    step, evaluations = (found.state.step, found.state.evaluations) if found else (0, 0)
    trackers: list[Tracker] = [MetricsFile(run.path / "metrics.jsonl", evaluations)]
    trackers.append(Terminal(job.total_steps, step, job.metric.name))
    if job.config.output.tensorboard:
        trackers.append(TensorBoard(run.path / "tensorboard", step))
    return trackers
