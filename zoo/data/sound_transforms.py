"""How training recordings are varied: the backbone's own preparation with random steps before and after it.

Every random choice is drawn from torch's global generator, which `loaders` seeds for each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.backbones.sounds import AudioPreprocess, Samples, Sound
from zoo.errors import UnknownName

LEVELS = ("light", "standard", "strong")
"""How much a sample is varied, by name, whatever its kind."""

GAIN = 6.0
"""Decibels by which a recording is made louder or softer, at most; a factor of two. Our own choice."""
SHIFT = 0.1
"""Share of a recording by which it is moved, at most: the 100 ms by which TensorFlow's recipe moves the seconds of Speech Commands
(tensorflow/examples/speech_commands/train.py, `time_shift_ms`)."""
NOISE = (10.0, 30.0)
"""Decibels by which white noise is softer than the recording. From hardly heard to a busy room; x-vectors were trained with noise
down to 0 dB (Kaldi, egs/voxceleb/v2), which is for speech of hours."""
TIME_MASKS, TIME_SHARE = 2, 0.1
"""Stretches of at most a tenth that are masked: half of the greatest share of SpecAugment's policy SM (arxiv.org/abs/1904.08779, table
1: p = 0.2), which is for sentences; what tells a sound may be short."""
BAND_MASKS, BAND_SHARE = 2, 0.2
"""Groups of bands of a spectrogram, of at most a fifth: 15 of 80 in the same policy."""


def vary_sound(preprocess: AudioPreprocess, augment: str) -> Callable[[Any], Tensor]:
    """A recording to a sample, as `AudioPreprocess.prepare`, but varied.

    Args:
        augment: how much it is varied:

            - `light`: louder or softer by up to 6 dB, and earlier or later by up to a tenth, with silence in the gap. (Where the
              network sees each recording at variance 1, loudness changes nothing.)
            - `standard`: `light`, white noise 10 to 30 dB below the recording, and of one that is too long a random stretch, where
              only one is taken.
            - `strong`: `standard`, and stretches of time, in spectrograms bands too, masked as SpecAugment does
              (arxiv.org/abs/1904.08779).

    Raises: UnknownName for another level.
    """
    if augment not in LEVELS:
        raise UnknownName("augmentation", augment, LEVELS, f"(there are: {', '.join(LEVELS)})")

    def vary(item: Any) -> Tensor:
        sound = preprocess.mono(item)
        samples = torch.from_numpy(sound.samples[0])
        if augment != "light":
            samples = _stretch(samples, preprocess, sound.rate)
        samples = _shift(_gain(samples))
        if augment != "light":
            samples = _noise(samples)
        varied: Samples = samples.numpy()[None]
        sample = preprocess.finish(Sound(varied, sound.rate))
        return _mask(sample) if augment == "strong" else sample

    return vary


def _between(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _below(count: int) -> int:
    """A number from 0 to before `count`."""
    return int(torch.randint(max(count, 1), ()).item())


def _stretch(samples: Tensor, preprocess: AudioPreprocess, rate: int) -> Tensor:
    """A random stretch of the length that is kept; the whole where all windows are."""
    most = max(int(preprocess.max_seconds * rate), 1)
    if len(samples) <= most or preprocess.truncation in ("window", "head+tail"):
        return samples
    start = _below(len(samples) - most + 1)
    return samples[start : start + most]


def _gain(samples: Tensor) -> Tensor:
    factor: float = 10 ** (_between(-GAIN, GAIN) / 20)
    return samples * factor


def _shift(samples: Tensor) -> Tensor:
    """Moved, with silence in the gap."""
    by = int(_between(-SHIFT, SHIFT) * len(samples))
    shifted = torch.zeros_like(samples)
    shifted[max(by, 0) : len(samples) + min(by, 0)] = samples[max(-by, 0) : len(samples) - max(by, 0)]
    return shifted


def _noise(samples: Tensor) -> Tensor:
    level = 10 ** (-_between(*NOISE) / 20)
    return samples + torch.randn(len(samples)) * samples.square().mean().sqrt() * level


def _mask(sample: Tensor) -> Tensor:
    """A sample `[W, T]` or `[W, F, mels]` with stretches of each window, and of its bands, at the window's mean; in place."""
    for window in sample:
        there = ~window.isnan()
        length, middle = int(there[:, 0].sum() if window.ndim == 2 else there.sum()), window[there].mean()
        for _ in range(TIME_MASKS):
            width = int(_between(0, TIME_SHARE) * length)
            start = _below(length - width + 1)
            window[start : start + width] = middle
        for _ in range(BAND_MASKS if window.ndim == 2 else 0):
            width = int(_between(0, BAND_SHARE) * window.shape[1])
            start = _below(window.shape[1] - width + 1)
            window[:length, start : start + width] = middle
    return sample
