"""What a run's options stand for: the model, its loaders, the identity of its checkpoints, and where its numbers go."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from zoo import backbones, registry, strategy
from zoo.adaptation import layout, transfer
from zoo.adaptation.boundary import Cut
from zoo.adaptation.model import AdaptedModel, has_live_batch_norm
from zoo.backbones.images import ImagePreprocess
from zoo.cache import Rows
from zoo.config import FinetuneConfig, marked
from zoo.data.loading import loaders
from zoo.data.loading.orders import sampling
from zoo.data.splits import Splits
from zoo.errors import ConfigError
from zoo.evaluation.metrics import Metric
from zoo.options import SAME_RESULT, Scalar
from zoo.runs import Run
from zoo.scale import Scale
from zoo.training import checkpoint, micro_batches
from zoo.training.features.row_batches import EvalRows, TrainRows
from zoo.training.loop import Job
from zoo.training.probe.sweep import balanced
from zoo.training.tracker import Start
from zoo.types import Kind, Task

log = logging.getLogger("zoo")


def build_model(config: FinetuneConfig, splits: Splits) -> AdaptedModel:
    """The backbone with its weights, the head and the plan, as the config states them. Raises: WeightsError, ConfigError."""
    chosen = config.model
    spec = backbones.identify(registry.resolve(chosen.backbone), chosen.weights)
    if spec.loader == "timm" or spec.family:  # else only the configuration beside the weights, which are not here yet, tells
        _check_kind(spec.kind, chosen.backbone, splits)
    seed = config.machine.seed
    inputs = chosen.inputs()
    source = None if chosen.init_from is None else transfer.open_source(Path(chosen.init_from))
    if source is None:
        backbone = backbones.load(spec, chosen.weights, **inputs, drop_path=chosen.drop_path, seed=seed)
    else:
        backbone = source.backbone
        transfer.check_options(backbone, Path(str(chosen.init_from)), inputs)
    _check_kind(backbone.preprocess.kind, chosen.backbone, splits)
    if isinstance(backbone.preprocess, ImagePreprocess):
        backbone.preprocess = replace(backbone.preprocess, bit_depth=splits.facts.bit_depth)
    if chosen.weights == "random":
        log.warning("weights random: %s starts untrained; this is a baseline, not transfer learning", chosen.backbone)
    model = AdaptedModel.build(
        backbone,
        len(splits.labels),
        head=chosen.head,
        strategy=strategy.parse(chosen.strategy),
        labels=splits.labels,
        lora_alpha=chosen.lora_alpha,
        lora_dropout=chosen.lora_dropout,
        lora_targets=chosen.lora_targets,
        batch_norm=chosen.batch_norm,
        task=splits.task,
        seed=seed,
    )
    model.schema = splits.facts.schema
    if splits.task is Task.REGRESSION:
        model.scale = Scale.of(splits.train.targets)
    if source is not None and chosen.keep_head:
        log.info("%d outputs begin as in %s", transfer.keep_rows(source, model), chosen.init_from)
    return model


def left_to_model(model: AdaptedModel, config: FinetuneConfig) -> dict[str, Scalar]:
    """The options that the model decides where they were left to it. Raises: ConfigError for a head that is to be solved and cannot be."""
    asked, linear = model.plan.strategy, isinstance(model.head, nn.Linear) and layout.is_plain_linear(model.head)
    start = config.model.head_start
    if start == "auto":
        gains = linear and model.backbone.origin.pretrained and not asked.inert and not config.model.keep_head
        start = "solved" if gains or asked.begins_solved else "random"
    if start == "solved" and not linear:
        what, advice = (f"strategy {asked}", "use full") if asked.begins_solved else ("head_start solved", "leave it out")
        raise ConfigError(f"{what}: a solved head is linear, and head {model.head_name} is not; {advice}")
    live = has_live_batch_norm(model.plan.strategy, model.backbone, config.model.batch_norm)
    return {"head_start": start, "batch_norm": "live" if live else "frozen"}


def _check_kind(kind: Kind, backbone: str, splits: Splits) -> None:
    """Raises: ConfigError if the data are of another kind than the backbone takes."""
    if kind is not splits.facts.kind:
        given, others = splits.facts.kind.nouns, "`zoo list backbones` shows others"
        raise ConfigError(f"{backbone} takes {kind.nouns}, and {splits.facts.source} has {given}; {others}")


def make_job(config: FinetuneConfig, splits: Splits, model: AdaptedModel, metric: Metric, machine: Accelerator) -> Job:
    """The model on samples."""
    preprocess = model.backbone.preprocess
    options = config.loader
    how = loaders.loading(options, config.data.num_workers or 0, machine.device.type)
    train = loaders.TrainBatches(
        splits.train,
        preprocess,
        batch_size=config.optim.batch_size,
        augment=config.data.augment,
        accumulate=config.optim.accumulate,
        least=micro_batches.least(model, config),
        seed=config.machine.seed,
        rank=machine.process_index,
        world=machine.num_processes,
        sampling=sampling(options),
        collate_fn=options.collate_fn,
        **how,
    )
    val = loaders.EvalBatches(
        splits.val,
        preprocess,
        batch_size=max(1, config.optim.batch_size // machine.num_processes),
        rank=machine.process_index,
        world=machine.num_processes,
        **how,
    )
    return Job(config, model, model, train, val, metric, class_weights(config, splits), identity(config, splits, model))


def make_row_job(
    config: FinetuneConfig,
    splits: Splits,
    model: AdaptedModel,
    cut: Cut,
    train: Sequence[Rows],
    val: Rows,
    metric: Metric,
    machine: Accelerator,
) -> Job:
    """What follows the cut, on what comes before it: rows of the training samples, one set a view, and of the validation samples."""
    options, rank, world = config.optim, machine.process_index, machine.num_processes
    train_rows = TrainRows(
        train,
        splits.train,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        least=micro_batches.least(model, config),
        seed=config.machine.seed,
        rank=rank,
        world=world,
        sampling=sampling(config.loader),
    )
    val_rows = EvalRows(val, splits.val, batch_size=max(1, options.batch_size // world), rank=rank, world=world)
    own = identity(config, splits, model)
    return Job(config, cut.tail, model, train_rows, val_rows, metric, class_weights(config, splits), own)


def class_weights(config: FinetuneConfig, splits: Splits) -> Tensor | None:
    """What a sample of each class counts in the loss, `[C] float32`, one on average over the training samples; None: all count one."""
    if config.data.class_weights == "none":
        return None
    return torch.from_numpy(balanced(splits.train.targets, len(splits.labels))).float()


def identity(config: FinetuneConfig, splits: Splits, model: AdaptedModel) -> dict[str, Any]:
    """All that a checkpoint belongs to: digests, and the options that change what is computed."""
    same = marked(SAME_RESULT)  # the weights have a digest of their own
    kept = {name: value for name, value in config.flat().items() if name not in same}
    return {
        "base weights": model.backbone.base_sha256,
        "data": splits.facts.sha256,
        "labels": splits.labels.sha256,
        checkpoint.OPTIONS: kept,
    }


def environment(machine: Accelerator, model: AdaptedModel) -> dict[str, str]:
    """Versions and hardware, for the card."""
    library = model.backbone.spec.loader
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        library: version(library),
        "accelerate": accelerate.__version__,
        "device": device_name(machine.device),
        "precision": machine.mixed_precision,
        "processes": str(machine.num_processes),
    }


def device_name(device: torch.device) -> str:
    """The device for people: the GPU's name, or the number of cores."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"


def position(run: Run, job: Job) -> Start:
    """Where the run is: at its newest checkpoint, or at the start."""
    found = checkpoint.newest(run.checkpoints, job.identity, say=False)
    step, evaluations = (found.state.step, found.state.evaluations) if found else (0, 0)
    return Start(job.metric.name, job.total_steps, step, evaluations)
