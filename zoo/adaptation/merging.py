"""Fold adapters into plain weights, LoRA as W + (alpha / R) B A: a model that needs no peft and runs as fast as the backbone alone."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from zoo.adaptation import planning
from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.plan import AdapterOptions
from zoo.errors import RunFailed
from zoo.strategy import parse


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
    plan = planning.apply(parse("full"), copied.backbone, AdapterOptions())
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
