"""What an engine is: one network, ready to be run on batches of one size; and whether two engines agree."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Engine(ABC):
    """A forward pass of a network whose weights stay as they are, on batches of one size.

    A sample's row depends on the sample and on its place in the batch, never on how many samples came with it: a short batch
    is filled up, so that a library sees one shape only and splits its sums in one way. (Its place may matter, in the last bits:
    kernels treat the rest of a division by the vector length differently.)
    """

    name: str
    """One of `NAMES`."""
    version: str
    """The library and its version, `OpenVINO 2026.4.1, torch 2.14.1`: with the same network and samples, what the bits depend on."""
    seconds_per_sample: float | None = None
    """As measured on full batches; None: not measured."""
    stands_in: bool = False
    """Whether another engine would have been tried or taken, and died, hung or raised: the next run may find that one well again."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        """The network's output for samples `[b, 3, S, S]` of the example's type on the CPU, `1 <= b <= batch_size`: rows `[b, ...]`.

        Raises: ValueError for another number of samples; EngineFailed.
        """
        if not 1 <= len(images) <= self.batch_size:
            raise ValueError(f"{len(images)} samples for an engine of batches of {self.batch_size}")
        return self._run(fill(images, self.batch_size))[: len(images)]

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what it holds beside memory. It is not called after that."""

    @abstractmethod
    def _run(self, images: Tensor) -> NDArray[np.float32]:
        """The rows of a full batch, in memory of their own."""


def fill(images: Tensor, count: int) -> Tensor:
    """`count` samples: the given ones, then the last of them again and again."""
    missing = count - len(images)
    return torch.cat([images, images[-1:].expand(missing, *images.shape[1:])]) if missing > 0 else images[:count]


def detached(net: nn.Module, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    """A copy of a network in eval mode, whose tensors take no gradient and, where they need not move, share `net`'s memory.

    Engines work on it, so that nothing they do reaches the caller's network: not the mode, not the memory format, not what a
    tracer patches, not the tensors that a network keeps from one forward pass to the next (LeViT's attention biases), which
    under `torch.inference_mode` could never be trained with. Only convolution kernels in another memory format are copied.
    """
    memo: dict[int, Any] = {}
    for module in net.modules():
        for value in vars(module).values():
            for tensor in value.values() if isinstance(value, dict) else [value]:
                if isinstance(tensor, Tensor):
                    memo[id(tensor)] = _still(tensor, device, memory_format)
    twin = copy.deepcopy(net, memo)
    return twin.eval()


def _still(tensor: Tensor, device: torch.device, memory_format: torch.memory_format) -> Tensor:
    moved = tensor.detach().to(device, memory_format=memory_format if tensor.ndim == 4 else torch.preserve_format)
    return nn.Parameter(moved, requires_grad=False) if isinstance(tensor, nn.Parameter) else moved


TOLERANCE = {"no": 1e-3, "fp16": 1e-2, "bf16": 0.3}
"""Largest `agreement` with torch's rows at the same precision that an engine may have.

In fp32, correct conversions of the families here differ by less than 1e-5 (another order of sums), those computed in bf16 behind
one's back by 1e-2 and more, a wrong operator by about 1: 1e-3 lies between. The unit roundoff of fp16 is
5e-4; compilers round fused operations once instead of twice, and some ten such roundings add up. That of bf16 is 4e-3, and depthwise
convolutions grow it: of EfficientNet-Lite0's features torch's bf16 is 0.13 from fp32, OpenVINO's 0.09, one from the other 0.12.
"""


def agreement(rows: NDArray[Any], reference: NDArray[Any]) -> float:
    """Largest over samples of |row - reference| / |reference|, in the Euclidean norm; both `[N, ...]` of one shape.

    Infinite where the shapes differ or `rows` holds a value that is not finite, and where a reference of zeros is not met exactly.
    """
    if rows.shape != reference.shape or not np.isfinite(rows).all():
        return float("inf")
    wanted = reference.reshape(len(reference), -1).astype(np.float64)
    distances = np.linalg.norm(rows.reshape(len(rows), -1) - wanted, axis=1)
    norms = np.linalg.norm(wanted, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(distances == 0, 0.0, distances / norms)
    return float(ratios.max())
