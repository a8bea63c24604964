"""How the features of a text's tokens, or an audio clip's frames, become one vector; what is padding takes no part."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("cls", "mean", "max", "last")
"""First token, mean, greatest value of each feature, last token."""


def pool(states: Tensor, present: Tensor, pooling: str) -> Tensor:
    """`[N, D]` of states `[N, T, D]` and present `[N, T] bool`, of which each row has one that is true, the first among them."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last = present.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    if pooling == "max":
        return states.masked_fill(~present.unsqueeze(-1), float("-inf")).amax(1)
    counted = present.unsqueeze(-1).to(states.dtype)
    return (states * counted).sum(1) / counted.sum(1)


def average_windows(features: Tensor, present: Tensor) -> Tensor:
    """`[B, D]` of the features `[N, D]` of all windows that exist, and present `[B, W, T] bool`: a token counts as much as any other.

    So a last window of few tokens counts little.
    """
    exists = present[:, :, 0]
    counts = present.sum(2)[exists].to(features.dtype)
    owner = exists.nonzero()[:, 0]
    sums = features.new_zeros(len(present), features.shape[1]).index_add(0, owner, features * counts.unsqueeze(1))
    return sums / present.sum((1, 2)).to(features.dtype).unsqueeze(1)
