"""Backbones for audio clips: transformers' encoders of waveforms and of spectrograms, and layers of them that are computed exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.data2vec.modeling_data2vec_audio import Data2VecAudioPositionalConvEmbedding
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from zoo.backbones import stages
from zoo.backbones.audio import EXTRACTION, HOP, RATE, WINDOW, AudioPreprocess, silence
from zoo.backbones.backbone import TRUNCATIONS, Backbone
from zoo.backbones.digest import digest
from zoo.backbones.networks import Network, average_windows, pool
from zoo.errors import ConfigError, UnknownName, WeightsError
from zoo.registry import BackboneSpec

LONGEST = 10.0
"""Seconds of a waveform by default: the memory of attention grows with their square, and what tells a class mostly comes early."""
FORMS = {
    "audio-spectrogram-transformer": "filter-bank",
    "data2vec-audio": "waveform",
    "hubert": "waveform",
    "wav2vec2": "waveform",
    "wavlm": "waveform",
    "whisper": "log-mel",
}
"""What each kind of network takes, by its `model_type`."""
_POOLINGS = {"waveform": ("mean", "max", "last"), "filter-bank": ("cls", "mean", "max"), "log-mel": ("mean", "max", "last")}
_AUDIOSET = (-4.2677393, 4.5689974)
"""Mean and standard deviation of AudioSet's filter banks, as `ASTFeatureExtractor` has them."""


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


class AudioBackbone(Backbone):
    """One of transformers' encoders of audio clips. Names of `net` are those of transformers' live modules, not of its files."""

    preprocess: AudioPreprocess

    def __init__(self, loaded: Network, preprocess: AudioPreprocess) -> None:
        super().__init__()
        replace_layers(loaded.net)
        self.spec = loaded.spec
        self.net = loaded.net
        width: int = loaded.net.config.hidden_size  # type: ignore[union-attr, assignment]
        self.feature_dim = self.token_dim = width
        self.stages = loaded.stages()
        self.norms = stages.norm_modules(loaded.net, loaded.spec.family)
        self.preprocess = preprocess
        self.origin = loaded.origin
        self.base_sha256 = digest(loaded.net)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Pooled features `[B, feature_dim]` of audio clips `[B, W, T]` or `[B, W, F, mels]`, NaN where there is nothing.

        Of several windows, the mean, in which each window counts as many frames as it has.
        """
        if inputs.shape[1] == 1:
            return self._pool(*self._states(inputs[:, 0]))
        exist = ~inputs.flatten(2)[:, :, 0].isnan()  # what a shorter audio clip does not have is not computed
        states, present = self._states(inputs[exist])
        owned = present.new_zeros(*exist.shape, present.shape[1])
        owned[exist] = present
        return average_windows(self._pool(states, present), owned)

    def tokens(self, inputs: Tensor) -> Tensor:
        """Frames, or patches, before pooling, `[B, T', token_dim]`, NaN where there is nothing. Raises: ConfigError for several
        windows."""
        if inputs.shape[1] != 1:
            raise ConfigError("a head on tokens takes one window; choose truncation head, tail or head+tail")
        states, present = self._states(inputs[:, 0])
        return states.masked_fill(~present.unsqueeze(-1), float("nan"))

    def _states(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden states `[N, T', D]` of windows `[N, ...]`, and which of them are of the audio clip, `[N, T'] bool`."""
        if self.preprocess.form == "waveform":
            return self._of_waveforms(windows)
        heard = ~windows[:, :, 0].isnan()
        if self.preprocess.form == "filter-bank":
            nothing = -self.preprocess.mean / (2 * self.preprocess.std) if self.preprocess.normalise else 0.0
            filled = windows.nan_to_num(nothing)
            filled = functional.pad(filled, (0, 0, 0, self.preprocess.frames - filled.shape[1]), value=nothing)
            return self.net(filled).last_hidden_state, self._patches(heard)
        filled = functional.pad(windows, (0, 0, 0, self.preprocess.frames - windows.shape[1]), value=float("nan"))
        filled = filled.where(~filled.isnan(), silence(windows).view(-1, 1, 1))
        states: Tensor = self.net(filled.transpose(1, 2)).last_hidden_state
        return states, functional.pad(heard[:, ::2], (0, states.shape[1] - heard[:, ::2].shape[1]))

    def _of_waveforms(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """As transformers' own forward, without its masking of frames in training, and with the padding kept out."""
        net: Any = self.net
        frames, lengths = convolve(net, windows.nan_to_num(0.0), (~windows.isnan()).sum(1))
        present = frames_before(lengths, frames.shape[2])
        projected = net.feature_projection(frames.transpose(1, 2))
        projected = projected[0] if isinstance(projected, tuple) else projected
        return net.encoder(projected, attention_mask=present).last_hidden_state, present

    def _patches(self, heard: Tensor) -> Tensor:
        """Which of AST's tokens hear the audio clip: its two of the whole, then the patches, bands of all times one after another."""
        config: Any = self.net.config
        times = (config.max_length - config.patch_size) // config.time_stride + 1
        bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        starts = heard[:, :: config.time_stride][:, :times]
        patches = functional.pad(starts, (0, times - starts.shape[1])).repeat(1, bands)
        return torch.cat([patches.new_ones(len(patches), 2), patches], dim=1)

    def _pool(self, states: Tensor, present: Tensor) -> Tensor:
        if self.preprocess.pooling == "cls":  # AST has two tokens for the whole
            return states[:, :2].mean(1)
        if self.preprocess.form == "filter-bank":
            states, present = states[:, 2:], present[:, 2:]
        return pool(states, present, self.preprocess.pooling)


def audio_backbone(loaded: Network, max_seconds: float | None, truncation: str, pooling: str | None) -> AudioBackbone:
    """An encoder of audio clips with every option settled.

    Raises: ConfigError for an impossible option; UnknownName; WeightsError if what belongs to the weights is missing or does not fit.
    """
    spec, config = loaded.spec, _config(loaded)
    if getattr(config, "add_adapter", False) or config.model_type not in FORMS:
        raise ConfigError(f"{spec.name} ({type(loaded.net).__name__}) takes audio clips in a way that zoo does not know")
    if spec.feature_dim not in (None, config.hidden_size):
        raise ConfigError(f"{spec.name}: features are {config.hidden_size} wide; expected {spec.feature_dim}")
    return AudioBackbone(loaded, _preprocess(loaded, max_seconds, truncation, pooling))


def _config(loaded: Network) -> Any:
    return loaded.net.config


def _extraction(loaded: Network) -> dict[str, Any]:
    """How audio clips are prepared, as is said beside the weights; random weights (which have no digest) need nothing said."""
    said = loaded.beside(EXTRACTION)
    if not said and loaded.origin.pretrained:
        advice = "put it there, since it says how audio clips are prepared"
        raise WeightsError(f"{loaded.spec.name}: no {EXTRACTION} beside the weights ({loaded.folder}); {advice}")
    return said


def _preprocess(loaded: Network, max_seconds: float | None, truncation: str, pooling: str | None) -> AudioPreprocess:
    spec, config, said = loaded.spec, _config(loaded), _extraction(loaded)
    form = FORMS[config.model_type]
    if truncation not in TRUNCATIONS:
        raise UnknownName("truncation", truncation, TRUNCATIONS, f"(they are: {', '.join(TRUNCATIONS)})")
    pooling = pooling or (spec.family.pooling if spec.family else None) or "mean"
    if pooling not in _POOLINGS[form]:
        raise ConfigError(f"pooling {pooling}: {spec.name} pools by {', '.join(_POOLINGS[form])}")
    rate = said.get("sampling_rate", RATE)
    if form == "waveform":
        own: dict[str, Any] = {"normalise": said.get("do_normalize", True), "shortest": _receptive_field(config)}
        seconds = _seconds(spec, max_seconds, LONGEST, None, own["shortest"] / rate)
    else:
        own = _spectrogram(spec, config, said, form)
        longest = ((own["frames"] - 1) * HOP + WINDOW if form == "filter-bank" else own["frames"] * HOP) / RATE
        seconds = _seconds(spec, max_seconds, longest, longest, WINDOW / RATE)
    return AudioPreprocess(form=form, rate=rate, max_seconds=seconds, truncation=truncation, pooling=pooling, **own)


def _spectrogram(spec: BackboneSpec, config: Any, said: Mapping[str, Any], form: str) -> dict[str, Any]:
    """What is particular to a network of spectrograms. Raises: WeightsError where the extraction is not that of the network."""
    bands, frames = ("num_mel_bins", "max_length") if form == "filter-bank" else ("feature_size", "nb_max_frames")
    wanted = config.max_length if form == "filter-bank" else 2 * config.max_source_positions
    fixed = {bands: config.num_mel_bins, frames: wanted, "sampling_rate": RATE, "hop_length": HOP, "n_fft": WINDOW}
    for name, value in fixed.items():
        if said.get(name, value) != value:
            found = f"{EXTRACTION} says {name} {said[name]}, and the network takes {value}"
            raise WeightsError(f"{spec.name}: {found}; get the file that belongs to the weights")
    own = {"mels": config.num_mel_bins, "frames": wanted, "shortest": WINDOW, "normalise": False}
    if form == "filter-bank":
        mean, std = (said.get(name, default) for name, default in zip(("mean", "std"), _AUDIOSET, strict=True))
        own |= {"normalise": said.get("do_normalize", True), "mean": mean, "std": std}
    return own


def _receptive_field(config: Any) -> int:
    """Samples that one frame of the convolutions hears: 400, which are 25 ms, in all that are known here."""
    field = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        field = (field - 1) * stride + kernel
    return field


def _seconds(spec: BackboneSpec, asked: float | None, default: float, most: float | None, least: float) -> float:
    if asked is None:
        return default
    if asked < least or (most is not None and asked > most):
        bounds = f"{least:g} to {most:g}" if most is not None else f"{least:g} or more"
        raise ConfigError(f"max_seconds is {asked:g}; {spec.name} takes {bounds}")
    return asked
