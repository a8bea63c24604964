"""Gradient checkpointing: activations inside a block are computed again in the backward pass, and not kept (arxiv.org/abs/1604.06174).

torch's own, without re-entrance, so that frozen blocks and LoRA work; dropout draws the same masks again. Only the blocks' inputs are kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.adaptation.model import AdaptedModel
from zoo.errors import ConfigError
from zoo.training.micro_batches import has_live_batch_norm


@contextlib.contextmanager
def recomputed(model: AdaptedModel, *, wanted: bool) -> Iterator[None]:
    """Train in here with activations that are computed again, if that is wanted; the network is left as it was.

    Raises: ConfigError where the network has no blocks to do that with, or batch norm is live, whose statistics would count twice.
    """
    if not wanted:
        yield
        return
    net, name = model.backbone.net, model.backbone.spec.name
    if has_live_batch_norm(model):
        raise ConfigError(
            "gradient_checkpointing: the statistics of batch norm that is live would count each batch twice; use --batch-norm frozen"
        )
    blocks = _layers_of_transformers(net)
    if blocks:
        with _wrapped(blocks):
            yield
        return
    setting: Any = getattr(net, "set_grad_checkpointing", None)
    try:
        if setting is None:
            raise AssertionError("it has no blocks to do that with")
        setting(True)
    except (AssertionError, NotImplementedError) as error:  # as timm's networks say that they have none
        raise ConfigError(f"gradient_checkpointing: {name} does not support it ({error}); leave it out") from error
    try:
        yield
    finally:
        setting(False)


def _layers_of_transformers(net: nn.Module) -> list[nn.Module]:
    """The blocks that transformers would compute again. It does so for blocks in train mode alone, and frozen ones stay in eval mode."""
    if not type(net).__module__.startswith("transformers."):
        return []
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in net.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextlib.contextmanager
def _wrapped(blocks: list[nn.Module]) -> Iterator[None]:
    for block in blocks:
        vars(block)["forward"] = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del vars(block)["forward"]
