"""For photographs, and for audio clips whose place and loudness mean nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from zoo.backbones.audio import AudioPreprocess
from zoo.backbones.images import ImagePreprocess
from zoo.data.augmentation import Augmentation, Transform, below, between, vary_audio
from zoo.data.augmentations.light import compose, crop, gain, shift

LEAST, RATIO = 0.35, 4 / 3
"""A crop of 35 to 100 % of the area (fastai, nbs/examples/train_imagenette.py; the 8 % of Inception, arxiv.org/abs/1409.4842, is for
training from nothing), sides up to 4 : 3 (ibid.)."""
NOISE = (10.0, 30.0)
"""Decibels by which white noise is softer than the audio clip. From hardly heard to a busy room; x-vectors were trained with noise
down to 0 dB (Kaldi, egs/voxceleb/v2), which is for speech of hours."""


class Standard(Augmentation):
    """Crops, flips and light; stretches, place, loudness and noise."""

    def image(self, preprocess: ImagePreprocess) -> Transform:
        """A crop of 35 % or more, a horizontal flip for half of the images, brightness and contrast by up to 20 % (fastai's
        `aug_transforms`: `max_lighting=0.2`)."""
        light = v2.ColorJitter(brightness=0.2, contrast=0.2)
        return compose(crop(preprocess, LEAST, RATIO), v2.RandomHorizontalFlip(0.5), light, v2.PILToTensor())

    def audio(self, preprocess: AudioPreprocess) -> Transform:
        """As `light`; white noise 10 to 30 dB below the clip, and of one that is too long a random stretch, where only one is taken."""
        return vary_audio(preprocess, lambda samples, rate: vary(samples, preprocess, rate))


def vary(samples: Tensor, preprocess: AudioPreprocess, rate: int) -> Tensor:
    """`[T] float32`, varied."""
    return noise(shift(gain(stretch(samples, preprocess, rate))))


def stretch(samples: Tensor, preprocess: AudioPreprocess, rate: int) -> Tensor:
    """A random stretch of the length that is kept; the whole where all windows are."""
    most = max(int(preprocess.max_seconds * rate), 1)
    if len(samples) <= most or preprocess.truncation in ("window", "head+tail"):
        return samples
    start = below(len(samples) - most + 1)
    return samples[start : start + most]


def noise(samples: Tensor) -> Tensor:
    """With white noise."""
    level = 10 ** (-between(*NOISE) / 20)
    return samples + torch.randn(len(samples)) * samples.square().mean().sqrt() * level


AUGMENTATION = Standard()
