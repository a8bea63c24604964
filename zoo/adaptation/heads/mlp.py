"""A hidden layer."""

from __future__ import annotations

from torch import nn

from zoo.adaptation.heads.linear import linear

HIDDEN = 512
"""Width of the hidden layer, as of fastai's `create_head`."""


def mlp(in_features: int, num_outputs: int) -> nn.Sequential:
    """One hidden layer of 512 with GELU."""
    return nn.Sequential(nn.Linear(in_features, HIDDEN), nn.GELU(), linear(HIDDEN, num_outputs))


HEAD = mlp
