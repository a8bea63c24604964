"""A model's outputs on a set of samples, each counted once, however many processes share the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.data.loading.loaders import EvalBatches
from zoo.errors import RunFailed
from zoo.training.features.row_batches import EvalRows


def collect(
    model: AdaptedModel,
    batches: EvalBatches | EvalRows,
    device: torch.device,
    gather: Callable[[Any], Any] = lambda tensors: tensors,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits `[N, C] float32` and targets `[N] int64` of every sample, in order, computed in fp32. The mode of `model` is kept.

    gather: concatenates a tuple of tensors over the processes, whose shares are padded to equal size; the padding is removed by
        index afterwards. By default there is one process.
    """
    was_training = model.training
    model.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.inference_mode():
        for batch in batches:
            # The class's forward, not the instance's, which Accelerate wraps in autocast: what ships is measured in fp32.
            logits = AdaptedModel.forward(model, place(batch.inputs, device, channels_last(model.backbone)))
            parts.append(gather((batch.indices.to(device), logits, batch.targets.to(device))))
    model.train(was_training)
    indices, outputs, truth = (torch.cat(tensors).cpu().numpy() for tensors in zip(*parts, strict=True))
    order, first = np.unique(indices, return_index=True)
    if len(order) != batches.count:
        raise RunFailed(f"evaluated {len(order)} samples of {batches.count}; this is a fault of zoo, please report it")
    return outputs[first], truth[first]


def channels_last(backbone: Backbone) -> bool:
    """Whether the network is a convolutional one, which is faster with its channels last (2 times, efficientnet on a CPU)."""
    family = backbone.spec.family
    return family is not None and family.channels_last


def prepare(model: AdaptedModel, device: torch.device) -> AdaptedModel:
    """The model on the device, in the memory format that suits it."""
    model.to(device)
    if channels_last(model.backbone):
        model.to(memory_format=torch.channels_last)
    return model


def place(images: Tensor, device: torch.device, last: bool) -> Tensor:
    """Samples, or what was computed of them, on the device and in the memory format of the network."""
    last = last and images.ndim == 4
    return images.to(device, non_blocking=True, memory_format=torch.channels_last if last else torch.preserve_format)
