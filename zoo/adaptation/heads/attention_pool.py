"""A learnt pooling of the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.adaptation.heads.linear import linear


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


HEAD = AttentionPool
