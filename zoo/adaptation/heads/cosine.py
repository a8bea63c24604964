"""Cosines in place of products."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Cosine(nn.Module):
    """Scaled cosines between features and one direction a class, scale * cos(x, w_c) (arxiv.org/abs/1804.09458)."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(functional.normalize(torch.randn(num_outputs, in_features), dim=1))
        self.scale = nn.Parameter(torch.tensor(20.0))
        """Learnt; 20 lets the softmax come near to one at a cosine of one."""

    def forward(self, features: Tensor) -> Tensor:
        """`[B, D]` to `[B, C]`."""
        return self.scale * functional.linear(functional.normalize(features, dim=1), functional.normalize(self.weight, dim=1))


HEAD = Cosine
