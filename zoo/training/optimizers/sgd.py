"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD

from zoo.config import OptimConfig


def sgd(groups: list[dict[str, Any]], config: OptimConfig, *, fused: bool) -> SGD:
    """With Nesterov momentum, where there is any."""
    return SGD(groups, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)


OPTIMIZER = sgd
