"""Sounds made up for tests, and networks for audio clips small enough that a forward pass takes milliseconds.

from sounding import TINY_SOUND, tone
backbone = zoo.backbones.load(TINY_SOUND["wavlm"], "random")
"""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from zoo import registry
from zoo.registry import BackboneSpec

RATE = 16_000

_WAVEFORM = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.5,
    "mask_time_prob": 0.5,
}
_WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
    "num_mel_bins": 80,
    "max_source_positions": 100,
    "encoder_layerdrop": 0.5,
}
_AST = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "max_length": 200}


def _tiny(family: str, model_type: str, **arguments: Any) -> BackboneSpec:
    return BackboneSpec(
        name=f"tiny_{family}",
        id=f"zoo/tiny-{family}",
        family=registry.families()[family],
        loader="transformers",
        arguments={"model_type": model_type, **arguments},
    )


TINY_SOUND: dict[str, BackboneSpec] = {
    "wav2vec2": _tiny("wav2vec2", "wav2vec2", **_WAVEFORM),
    "xls-r": _tiny("xls-r", "wav2vec2", **_WAVEFORM, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True),
    "hubert": _tiny("hubert", "hubert", **_WAVEFORM, feat_proj_layer_norm=False),
    "wavlm": _tiny("wavlm", "wavlm", **_WAVEFORM),
    "data2vec-audio": _tiny(
        "data2vec-audio", "data2vec-audio", **{**_WAVEFORM, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7}
    ),
    "whisper": _tiny("whisper", "whisper", **_WHISPER),
    "ast": _tiny("ast", "audio-spectrogram-transformer", **_AST),
}
"""One a family. Two seconds at most of Whisper, as many of AST."""


def tone(frequency: float, seconds: float = 1.0, rate: int = RATE, loudness: float = 0.5) -> np.ndarray:
    """`[T] float32`: a sine."""
    return (loudness * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float = 1.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """`[T] float32`: white noise."""
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate)).astype(np.float32)


def chirp(start: float, stop: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """`[T] float32`: a sine whose frequency rises evenly."""
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (start + (stop - start) * time / (2 * seconds)) * time)).astype(np.float32)


def write(path: Path, *channels: np.ndarray, rate: int = RATE, **options: Any) -> Path:
    """A file of these channels, in the format that its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(channels, axis=1), rate, **options)
    return path
