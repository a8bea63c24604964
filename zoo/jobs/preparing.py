"""What comes before training, whether a run starts, goes on or is only tried: first what needs no network (the machine, data, labels, task
and metric), then the model and the way that it will be trained."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from zoo import registry, runs
from zoo.adaptation import saved_config, transfer
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig, Resolved, marked
from zoo.data.sources.in_memory.given_rows import parts_of
from zoo.data.splits import Splits, from_datasets, open_splits
from zoo.errors import ConfigError
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.options import NAMES_CODE
from zoo.training import launch
from zoo.training.assembly import build_model, left_to_model
from zoo.training.collect import prepare as placed
from zoo.training.method import Method, agreed_method
from zoo.types import Labels, Task

log = logging.getLogger("zoo")

CUSTOM_DATA = "python:datasets"
"""What `data` is called in the config of a run on data sets that were given in Python."""


@dataclass(frozen=True)
class Extras:
    """What Python callers may pass that no file can hold."""

    splits: Splits | None = None
    metric: Metric | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.splits, self.metric))


@dataclass(frozen=True)
class Prepared:
    """What is known before a network is loaded."""

    resolved: Resolved
    splits: Splits
    metric: Metric

    @property
    def config(self) -> FinetuneConfig:
        """The options."""
        return self.resolved.config

    @property
    def own_workers(self) -> bool:
        """Whether other processes are to be started, which train in place of this one."""
        return starts_workers(self.config)


@dataclass(frozen=True)
class Built:
    """The model of a run, and how it will be trained."""

    resolved: Resolved
    model: AdaptedModel
    method: Method


def extras(
    resolved: Resolved, data: Any, metric: Any, label_names: Sequence[str] | None, keys: Sequence[str] | None = None
) -> tuple[Resolved, Extras]:
    """Python objects beside the options, and the options with a word in their place. Raises: ConfigError, DataError."""
    splits = None
    if data is not None:
        resolved = resolved.settle("python", data=CUSTOM_DATA)
        config = resolved.config
        train, val, test = parts_of(data)
        splits = from_datasets(train, val, test, label_names, keys, config.data, config.machine.seed)
    elif label_names is not None or keys is not None:
        name = "keys" if label_names is None else "label_names"
        raise ConfigError(f"{name} are for data sets given in Python; folders and tables have names of their own")
    found = None
    if metric is not None and not isinstance(metric, str):
        found = metric if isinstance(metric, metrics.Metric) else metrics.resolve(metric)
        resolved = resolved.settle("python", metric=found.name)
    return resolved, Extras(splits, found)


def prepare(resolved: Resolved, given: Extras) -> Prepared:
    """Settle what was left to the machine and to the data, and read these. Raises: ZooError."""
    resolved = launch.settle(resolved)
    config = resolved.config
    if starts_workers(config):
        _check_reach(config, given)
    splits = labelled(given.splits or open_splits(config), config)
    resolved, metric = by_task(resolved, splits, given.metric)
    return Prepared(resolved, splits, metric)


def build(prepared: Prepared, machine: Accelerator) -> Built:
    """Load the network, adapt it, settle what was left to it, and decide how it will be trained. Raises: WeightsError, ConfigError."""
    resolved, splits = prepared.resolved, prepared.splits
    model = placed(build_model(resolved.config, splits), machine.device)
    empty = {name for name, value in resolved.config.flat().items() if value is None}
    found = {name: value for name, value in model.backbone.preprocess.options().items() if name in empty}
    resolved = resolved.settle("backbone", **found).settle("model", **left_to_model(model, resolved.config))
    method = agreed_method(model, resolved.config, sum(len(part) for part in splits.parts().values()), machine)
    if method.keep_features is not None:
        resolved = resolved.settle("measured", keep_features=method.keep_features)
    return Built(resolved, model, method)


def starts_workers(config: FinetuneConfig) -> bool:
    """Whether processes are asked for that nobody has started."""
    return config.machine.processes > 1 and launch.launched_processes() == 1


def _check_reach(config: FinetuneConfig, given: Extras) -> None:
    """Raises: ConfigError for what new processes cannot know."""
    if given or config.model.head not in registry.heads(installed=True):
        raise ConfigError("data sets, heads and metrics that are Python objects cannot reach new processes; use torchrun instead")
    values = config.flat()
    here = next((name for name in marked(NAMES_CODE) if (value := values[name]) and registry.only_here(name, str(value))), None)
    if here:
        raise ConfigError(f"{here} is registered in this process alone; write it as module:function, or use torchrun instead")


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
