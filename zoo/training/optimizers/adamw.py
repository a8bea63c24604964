"""AdamW (arxiv.org/abs/1711.05101)."""

from __future__ import annotations

from typing import Any

from torch.optim import AdamW

from zoo.config import OptimConfig


def adamw(groups: list[dict[str, Any]], config: OptimConfig, *, fused: bool) -> AdamW:
    """With torch's usual betas."""
    return AdamW(groups, betas=(0.9, 0.999), fused=fused)


OPTIMIZER = adamw
