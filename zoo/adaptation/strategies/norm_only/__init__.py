"""`norm-only`: scales and shifts of the normalisation layers train."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class NormOnly(Strategy):
    """The scales and shifts of the normalisation layers train, with the head, arxiv.org/abs/2003.00152."""

    kind = "norm-only"
    use = "very few trained numbers: normalisation layers train"
