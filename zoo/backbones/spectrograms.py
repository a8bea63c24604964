"""Spectrograms as two families of networks were trained on: frames of 25 ms, one every 10 ms, at 16 kHz."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

RATE = 16_000
"""Samples a second; neither kind exists at another rate."""
WINDOW = 400
"""Samples of a frame."""
HOP = 160
"""Samples from one frame to the next."""

_SPECTRUM = 512
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07
"""Of Kaldi, and of `ASTFeatureExtractor`."""


def filter_bank(samples: Tensor, mels: int) -> Tensor:
    """`[F, mels] float32`, Kaldi's log filter bank of an audio clip `[T]`: `F = 1 + (T - 400) // 160`.

    What `ASTFeatureExtractor` computes without torchaudio, but for all frames at once (65 ms became 3 ms for five seconds); with
    torchaudio it would give other digits, so that features would depend on what else is installed.
    """
    frames = samples.double().unfold(0, WINDOW, HOP)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * before) * torch.hann_window(WINDOW, periodic=False, dtype=torch.double)
    power = torch.fft.rfft(frames, _SPECTRUM).abs().square()
    logarithms: Tensor = (power @ _mel_filters(mels)).clamp(min=_FLOOR).log()
    return logarithms.float()


def log_mel(samples: Tensor, mels: int, frames: int) -> Tensor:
    """`[F, mels] float32`, Whisper's spectrogram of an audio clip `[T]`: the frames, of at most `frames`, that hear something of it.

    What Whisper has behind them is silence (`silence`), up to `frames` in all.
    """
    count = min(-(-(len(samples) + WINDOW // 2) // HOP), frames)
    length = min(
        count * HOP + WINDOW, frames * HOP
    )  # so that its last frames hear silence, as in an audio clip filled up with it
    given = functional.pad(samples, (0, max(length - len(samples), 0))).numpy()
    with torch.autocast("cpu", enabled=False):
        spectrum: Tensor = _whisper(mels)(given, sampling_rate=RATE, max_length=length, return_tensors="pt")["input_features"][0]
    return spectrum[:, :count].T.contiguous()


def silence(spectra: Tensor) -> Tensor:
    """`[N]`: what Whisper's spectrogram `[N, F, mels]`, NaN behind the audio clip, has where nothing is heard.

    Whisper cuts its decimal logarithm off at 8 below its greatest value, and at -10, before it takes (x + 4) / 4 of it.
    """
    greatest = spectra.nan_to_num(float("-inf")).amax((1, 2))
    return (greatest - 2.0).clamp(min=-1.5)


@cache
def _mel_filters(mels: int) -> Tensor:
    """`[257, mels] float64`."""
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        # Of 128 filters the lowest are narrower than a step of the spectrum, as they were in training.
        warnings.simplefilter("ignore")
        filters: Any = mel_filter_bank(
            num_frequency_bins=_SPECTRUM // 2 + 1,
            num_mel_filters=mels,
            min_frequency=20,
            max_frequency=RATE // 2,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return torch.from_numpy(filters).double()


@cache
def _whisper(mels: int) -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=mels)  # type: ignore[no-untyped-call]
