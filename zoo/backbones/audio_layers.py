"""Parts of transformers' networks of waveforms, done again so that padding changes nothing and every adapted layer is called.

In a batch, an audio clip is followed by padding up to the length of the longest. transformers' networks let it through in three places:
the norm over time of the first convolution (wav2vec 2.0, HuBERT and WavLM, base sizes; they were trained on batches of one length),
the stacked convolutions of data2vec's positions, and pooling. With what is here, an audio clip's features are the same alone and in
any batch. Weights, names and results for a single audio clip are those of transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.data2vec.modeling_data2vec_audio import Data2VecAudioPositionalConvEmbedding
from transformers.models.wavlm.modeling_wavlm import WavLMAttention


def replace_layers(net: nn.Module) -> None:
    """Give the modules concerned their new forward, in place."""
    for module in net.modules():
        if type(module) is WavLMAttention:
            module.__class__ = Attention
        elif type(module) is Data2VecAudioPositionalConvEmbedding:
            module.__class__ = Positions


def convolve(net: Any, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The convolutions of `net.feature_extractor`, of waveforms `[N, T]`, 0 behind their lengths `[N]`.

    Returns frames `[N, C, T']`, and how many of each row hear nothing but the audio clip, `[N]`, 1 or more.
    """
    states = waveforms.unsqueeze(1)
    for layer in net.feature_extractor.conv_layers:
        (kernel,), (stride,) = layer.conv.kernel_size, layer.conv.stride
        lengths = (lengths - kernel) // stride + 1
        norm = getattr(layer, "layer_norm", None)
        if not isinstance(norm, nn.GroupNorm):
            states = layer(states)
            continue
        states = layer.activation(norm_over_time(layer.conv(states), lengths, norm))
    return states, lengths


def norm_over_time(states: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """What `norm`, of a group a channel, gives for each row of states `[N, C, T]` alone, cut to its length."""
    states = states.float()  # under autocast the convolution gives half precision, too little for sums over seconds
    present = frames_before(lengths, states.shape[2]).unsqueeze(1).float()
    count = lengths.view(-1, 1, 1).float()
    centred = states - (states * present).sum(2, keepdim=True) / count
    variance = torch.linalg.vector_norm(centred * present, dim=2, keepdim=True).square() / count
    scale = norm.weight.unsqueeze(1) * (variance + norm.eps).rsqrt()
    return torch.addcmul(norm.bias.unsqueeze(1), centred, scale)


def frames_before(lengths: Tensor, count: int) -> Tensor:
    """`[N, count] bool`: which frames stand before each length `[N]`."""
    return torch.arange(count, device=lengths.device) < lengths.unsqueeze(1)


class Attention(WavLMAttention):
    """WavLM's attention through torch's fused kernel, calling its four projections.

    The original hands their weights to a function, so that LoRA on them would never act
    (github.com/huggingface/transformers/pull/48773), and computes attention weights that nothing reads.
    """

    def torch_multi_head_self_attention(
        self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, Any]:
        """hidden_states `[N, T, D]`, attention_mask `[N, T] bool`, gated_position_bias `[N * heads, T, T]`."""
        rows, length, _ = hidden_states.shape
        projected = (projection(hidden_states) for projection in (self.q_proj, self.k_proj, self.v_proj))
        query, key, value = (one.view(rows, length, self.num_heads, -1).transpose(1, 2) for one in projected)
        bias = gated_position_bias.view(rows, self.num_heads, length, length)
        if attention_mask is not None:
            bias = bias.masked_fill(~attention_mask.view(rows, 1, 1, length), float("-inf"))
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype), dropout)
        return self.out_proj(mixed.transpose(1, 2).reshape(rows, length, -1)), None


class Positions(Data2VecAudioPositionalConvEmbedding):
    """data2vec's positions, with frames that are padding, which come as zeros, zero between its convolutions too."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[N, T, D]` to the same."""
        present = hidden_states.any(2).unsqueeze(1)
        states = hidden_states.transpose(1, 2)
        for layer in self.layers:
            states = layer(states) * present
        return states.transpose(1, 2)
