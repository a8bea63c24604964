"""Little: what is learned may depend on the direction and the colour (digits, text, traffic signs)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from zoo.backbones.audio import AudioPreprocess
from zoo.backbones.images import ImagePreprocess
from zoo.data.augmentation import Augmentation, Transform, between, vary_audio

GAIN = 6.0
"""Decibels by which an audio clip is made louder or softer, at most; a factor of two. Our own choice."""
SHIFT = 0.1
"""Share of an audio clip by which it is moved, at most: the 100 ms by which TensorFlow's recipe moves the seconds of Speech Commands
(tensorflow/examples/speech_commands/train.py, `time_shift_ms`)."""


class Light(Augmentation):
    """Crops; loudness and place."""

    def image(self, preprocess: ImagePreprocess) -> Transform:
        """A crop of 70 to 100 % of the area, its sides at most 1.1 : 1. No flip and no colour."""
        return compose(crop(preprocess, 0.7, 1.1), v2.PILToTensor())

    def audio(self, preprocess: AudioPreprocess) -> Transform:
        """Louder or softer by up to 6 dB, and earlier or later by up to a tenth, with silence in the gap. (Where the network sees each
        clip at variance 1, loudness changes nothing.)"""
        return vary_audio(preprocess, lambda samples, rate: shift(gain(samples)))


def compose(*steps: Transform) -> Transform:
    """One after another."""
    transform: Transform = v2.Compose(steps)
    return transform


def crop(preprocess: ImagePreprocess, least: float, ratio: float) -> Transform:
    """A random part of an image, of so large a share of its area at least, its sides `ratio` to 1 at most, at the size of the network."""
    mode = v2.InterpolationMode(preprocess.interpolation)
    resized: Transform = v2.RandomResizedCrop(
        preprocess.size, (least, 1.0), (1 / ratio, ratio), interpolation=mode, antialias=True
    )
    return resized


def gain(samples: Tensor) -> Tensor:
    """Louder or softer."""
    factor: float = 10 ** (between(-GAIN, GAIN) / 20)
    return samples * factor


def shift(samples: Tensor) -> Tensor:
    """Moved, with silence in the gap."""
    by = int(between(-SHIFT, SHIFT) * len(samples))
    shifted = torch.zeros_like(samples)
    shifted[max(by, 0) : len(samples) + min(by, 0)] = samples[max(-by, 0) : len(samples) - max(by, 0)]
    return shifted


AUGMENTATION = Light()
