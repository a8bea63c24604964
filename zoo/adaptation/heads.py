"""The heads: what turns features into one number a class.

A factory takes `(in_features, num_outputs)` and gives a module from `[B, in_features]` to `[B, num_outputs]`. One with
`takes_tokens = True` gets the features before pooling, `[B, T, in_features]`. Last layers start at zero, so that the first loss
is ln(num_outputs) whatever the features (BiT, arxiv.org/abs/1912.11370): a cheap check of everything before them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 512
"""Width of the hidden layer of `mlp`, fastai's `create_head`."""


def linear(in_features: int, num_outputs: int) -> nn.Linear:
    """One affine map, zero at first."""
    layer = nn.Linear(in_features, num_outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(in_features: int, num_outputs: int) -> nn.Sequential:
    """One hidden layer of 512 with GELU."""
    return nn.Sequential(nn.Linear(in_features, HIDDEN), nn.GELU(), linear(HIDDEN, num_outputs))


def norm_linear(in_features: int, num_outputs: int) -> nn.Sequential:
    """Layer norm, then an affine map: for features whose scale varies much, as those of masked auto-encoders."""
    return nn.Sequential(nn.LayerNorm(in_features), linear(in_features, num_outputs))


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


class AttentionPool(nn.Module):
    """One learnt query attends to all tokens in several heads, then layer norm and an affine map (arxiv.org/abs/2202.03026)."""

    takes_tokens = True

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        wanted = max(1, in_features // 64)
        self.num_heads = max(heads for heads in range(1, wanted + 1) if in_features % heads == 0)
        self.query = nn.Parameter(torch.randn(1, self.num_heads, 1, in_features // self.num_heads) * 0.02)
        self.norm_in = nn.LayerNorm(in_features)
        self.key_value = nn.Linear(in_features, 2 * in_features)
        self.norm_out = nn.LayerNorm(in_features)
        self.output = linear(in_features, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, T, D]`, NaN where there is no token, to `[B, C]`."""
        batch, length, width = tokens.shape
        present = ~tokens[:, None, None, :, 0].isnan()
        tokens = tokens.nan_to_num()
        shape = (batch, length, 2, self.num_heads, width // self.num_heads)
        keys, values = self.key_value(self.norm_in(tokens)).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        query = self.query.to(keys.dtype).expand(batch, -1, -1, -1)
        pooled = functional.scaled_dot_product_attention(query, keys, values, attn_mask=present).reshape(batch, width)
        logits: Tensor = self.output(self.norm_out(pooled))
        return logits
