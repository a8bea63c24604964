"""A trained model in another use: adapters folded into plain weights (LoRA as W + (alpha / R) B A), or the start of another run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo import folders
from zoo.adaptation import layout, saved
from zoo.adaptation.model import AdaptedModel, plan_of
from zoo.adaptation.plan import AdapterOptions
from zoo.backbones.backbone import Backbone, WeightsOrigin
from zoo.backbones.digest import digest
from zoo.errors import ConfigError, RunFailed
from zoo.strategy import parse
from zoo.types import Labels


def merge(model: AdaptedModel) -> AdaptedModel:
    """A copy whose weights are whole and plain, under the network's own names; folded in float32. In eval mode.

    Its plan is that of `full`, and `merged_from` says what it comes from. Without LoRA it is the copy alone.
    Raises: RunFailed if a folded weight is not finite.
    """
    copied = copy.deepcopy(model)
    net = copied.backbone.net
    if hasattr(net, "peft_config"):
        _fold(net)
        del net.peft_config
    plan = plan_of(parse("full"), copied.backbone, AdapterOptions())
    merged = AdaptedModel(
        copied.backbone,
        copied.head,
        plan,
        num_outputs=model.num_outputs,
        head_name=model.head_name,
        labels=model.labels,
        merged_from=model.merged_from or model.plan.strategy,
        task=model.task,
    )
    merged.schema, merged.scale = model.schema, model.scale
    return merged


def _fold(net: nn.Module) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer  # late: peft's import takes longer than the rest

    layers: list[tuple[str, Any]] = [(name, module) for name, module in net.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, layer in layers:
        base = layer.get_base_layer()
        dtype = base.weight.dtype
        layer.float()
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise RunFailed(
                f"the adapter of {name} cannot be folded: its values are not finite; use an earlier checkpoint"
            ) from error
        parent, _, leaf = name.rpartition(".")
        setattr(net.get_submodule(parent), leaf, base.to(dtype))


def open_source(folder: Path, *, weights: str | None = None) -> AdaptedModel:
    """The model in the `best/` of a run, or in a published folder, LoRA folded in, as a start.

    Its backbone's origin is that folder, and its digest that of the weights as they are now.
    Raises: CheckpointError, WeightsError, as `saved.open_saved`; RunFailed if LoRA cannot be folded.
    """
    model = merge(saved.open_saved(folder, weights=weights))
    backbone = model.backbone
    backbone.origin = WeightsOrigin(f"run {folder}", folders.sha256(folder / saved.WEIGHTS), backbone.origin.licence, own=True)
    backbone.base_sha256 = digest(backbone.net)
    return model


def check_options(backbone: Backbone, folder: Path, asked: dict[str, object]) -> None:
    """Raises: ConfigError if an option that says what the backbone sees is not as the source was trained."""
    for name, value in backbone.preprocess.options().items():
        if asked.get(name) not in (None, value):
            raise ConfigError(f"{name} is {asked[name]}, and {folder} was trained with {value}; leave it out")


def joined(old: Labels, new: Labels) -> Labels:
    """The old labels in their order, then the new ones: output i goes on to mean what it meant."""
    return Labels((*old.names, *(name for name in new.names if name not in old.names)))


@torch.no_grad()
def keep_rows(source: AdaptedModel, model: AdaptedModel) -> int:
    """Copy the rows of the source's head to the outputs of the same label; gives how many there were.

    Raises: ConfigError if a head is not linear, the tasks differ, or no label has the same name.
    """
    for one in (source, model):
        if not layout.is_plain_linear(one.head):
            raise ConfigError(f"keep_head copies rows of a linear head; head {one.head_name!r} has none: leave it out")
    if source.task is not model.task or source.labels is None or model.labels is None:
        raise ConfigError(
            f"keep_head: that head is of the task {source.task.value}, and this of {model.task.value}; leave it out"
        )
    places = model.labels.places
    pairs = [(old, places[name]) for old, name in enumerate(source.labels.names) if name in places]
    if not pairs:
        raise ConfigError("keep_head: no label has the name of one of that head's; leave it out")
    assert isinstance(source.head, nn.Linear)
    assert isinstance(model.head, nn.Linear)
    old, new = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
    model.head.weight[new] = source.head.weight[old]
    model.head.bias[new] = source.head.bias[old]
    model.scale = source.scale  # the rows are right in that unit alone
    return len(pairs)
