"""An affine map."""

from __future__ import annotations

from torch import nn


def linear(in_features: int, num_outputs: int) -> nn.Linear:
    """One affine map, zero at first."""
    layer = nn.Linear(in_features, num_outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


HEAD = linear
