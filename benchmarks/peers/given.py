"""What every peer starts from: the pretrained network, and how timm prepares pictures for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import timm
from torch import nn


def network(options: argparse.Namespace, num_classes: int) -> nn.Module:
    """timm's network with the weights of the local file, and a new classifier; `num_classes` 0: none, pooled features `[B, 1280]`."""
    file = {"file": str(options.weights / "model.safetensors")}
    model: nn.Module = timm.create_model(
        "tf_efficientnet_lite0.in1k", pretrained=True, pretrained_cfg_overlay=file, num_classes=num_classes
    )
    return model


def transform(model: nn.Module, options: argparse.Namespace) -> Callable[[Any], Any]:
    """A PIL picture to `[3, size, size] float32`, as at evaluation (huggingface.co/docs/timm/feature_extraction)."""
    config = timm.data.resolve_data_config({"input_size": (3, options.image_size, options.image_size)}, model=model)
    steps: Callable[[Any], Any] = timm.data.create_transform(**config)
    return steps
