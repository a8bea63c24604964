"""Layer norm before an affine map."""

from __future__ import annotations

from torch import nn

from zoo.adaptation.heads.linear import linear


def norm_linear(in_features: int, num_outputs: int) -> nn.Sequential:
    """Layer norm, then an affine map: for features whose scale varies much, as those of masked auto-encoders."""
    return nn.Sequential(nn.LayerNorm(in_features), linear(in_features, num_outputs))


HEAD = norm_linear
