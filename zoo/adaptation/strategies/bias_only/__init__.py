"""`bias-only`: the biases train."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class BiasOnly(Strategy):
    """The biases train, with the head (BitFit, arxiv.org/abs/2106.10199)."""

    kind = "bias-only"
    use = "very few trained numbers: biases train"
