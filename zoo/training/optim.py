"""Losses, optimisers, parameter groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.plan import NET
from zoo.config import OptimConfig
from zoo.plugins import OPTIMIZERS
from zoo.types import Task


def parameter_groups(model: AdaptedModel, config: OptimConfig) -> list[dict[str, object]]:
    """One group for each pair of (learning rate, weight decay), every tensor of the plan in exactly one.

    The head learns at `lr`, all else at `lr * backbone_lr_scale`, and a stage of the backbone with s stages behind it at
    `stage_decay ** s` of that (arxiv.org/abs/1801.06146, section 3.1; adapters beside it are left out). Tensors with fewer than two
    dimensions (norms, biases, scales) and LoRA's matrices do not decay. `names` in a group lists its parameters in order; `peak_lr`
    is what the schedule scales.
    """
    parameters = dict(model.named_parameters())
    behind = {NET + name: after for after, stage in enumerate(reversed(model.backbone.stages)) for name in stage.parameters}
    groups: dict[tuple[float, float], list[str]] = {}
    for name, group in model.plan.tensors.items():
        lr = config.lr if group == "head" else config.lr * config.backbone_lr_scale * config.stage_decay ** behind.get(name, 0)
        decays = parameters[name].ndim > 1 and group != "adapter"
        groups.setdefault((lr, config.weight_decay if decays else 0.0), []).append(name)
    return [
        {"params": [parameters[name] for name in names], "names": names, "lr": lr, "peak_lr": lr, "weight_decay": decay}
        for (lr, decay), names in groups.items()
    ]


def build_optimizer(model: AdaptedModel, config: OptimConfig) -> Optimizer:
    """The optimiser over the plan's tensors and nothing else; fused on a GPU."""
    groups = parameter_groups(model, config)
    fused = next(model.parameters()).is_cuda
    optimizer: Optimizer = OPTIMIZERS.get(config.optimizer)(groups, config, fused=fused)
    return optimizer


def scale(step: int, total: int, config: OptimConfig) -> float:
    """The factor on the peak learning rate at `step` (0-based) of `total`, in 0..1.

    Linear warm-up over `warmup * total` steps that ends at 1, then cosine to 0 (Loshchilov & Hutter 2017, arxiv.org/abs/1608.03983),
    linear to 0, or constant.

    >>> [round(scale(step, 4, OptimConfig(warmup=0.0)), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    warmup_steps = math.floor(config.warmup * total)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total - warmup_steps)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress if config.schedule == "linear" else 1.0


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Give every group `factor` times its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def named_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by parameter name: `<parameter>/<entry>` to a tensor on the CPU."""
    state = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    state[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return state


def load_named_state(optimizer: Optimizer, state: dict[str, Tensor]) -> None:
    """The inverse of `named_state`. Raises: KeyError naming a parameter that the optimiser does not have."""
    owners = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        parameter = owners[name]
        # AdamW counts its steps in a tensor that stays on the CPU unless the optimiser is fused.
        device = parameter.device if key != "step" or parameter.is_cuda else value.device
        placed = value.to(device, copy=True)
        if placed.shape == parameter.shape:
            placed = torch.empty_like(parameter).copy_(placed)  # keeps the parameter's memory format
        optimizer.state[parameter][key] = placed


def losses(task: Task, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The loss of each sample, `[b] float32`.

    classification: cross-entropy of the logits `[b, C]` and the classes `[b] int64`.
    multilabel: the mean over the labels of the binary cross-entropies of the logits and the targets `[b, C]`, 0 or 1.
    regression: the mean over the values of the squared differences of outputs and targets `[b, K]`, both standardised.

    label_smoothing: share of the target that is spread over all classes (or, of a label, over holding and not holding).
    """
    if task is Task.CLASSIFICATION:
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing)
    if task is Task.MULTILABEL:
        smooth = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smooth, reduction="none").mean(dim=1)
    return (outputs - targets).square().mean(dim=1)
