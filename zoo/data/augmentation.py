"""What an augmentation is, and how training samples are varied by one: the backbone's own preparation with random steps in it.

Every random choice is drawn from torch's global generator, which `zoo.data.loading.loaders` seeds for each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.backbones.audio import AudioClip, AudioPreprocess, Samples
from zoo.backbones.backbone import Preprocess
from zoo.backbones.images import ImagePreprocess
from zoo.errors import ConfigError
from zoo.plugins import AUGMENTATIONS

Transform = Callable[[Any], Tensor]
"""From an item of a sample set to a sample, as `Preprocess.prepare` gives it, but varied."""


class Augmentation:
    """How training samples are varied: a method for each kind of sample, which gives None where that kind is not varied."""

    def image(self, preprocess: ImagePreprocess) -> Transform | None:
        """An RGB image to `[3, size, size] uint8`; it is normalised with its batch (`ImagePreprocess.normalise`)."""

    def text(self, preprocess: Preprocess) -> Transform | None:
        """A text, or a pair of them, to its tokens."""

    def audio(self, preprocess: AudioPreprocess) -> Transform | None:
        """An audio clip to what the network takes (`AudioPreprocess.finish`)."""


def vary_audio(
    preprocess: AudioPreprocess, vary: Callable[[Tensor, int], Tensor], mask: Callable[[Tensor], Tensor] = lambda sample: sample
) -> Transform:
    """The preparation of the backbone with steps in it: `vary` on the samples `[T] float32` and their rate, `mask` on what the network
    gets."""

    def varied(item: Any) -> Tensor:
        clip = preprocess.mono(item)
        samples: Samples = vary(torch.from_numpy(clip.samples[0]), clip.rate).numpy()[None]
        return mask(preprocess.finish(AudioClip(samples, clip.rate)))

    return varied


def between(low: float, high: float) -> float:
    """A number from `low` to `high`."""
    return low + (high - low) * torch.rand(()).item()


def below(count: int) -> int:
    """A number from 0 to before `count`."""
    return int(torch.randint(max(count, 1), ()).item())


def train_transform(preprocess: Preprocess, augment: str) -> Transform:
    """From an item of a sample set to a sample, as `Preprocess.prepare`, but varied as `augment` says. A tensor is prepared already.

    Raises: UnknownName; ConfigError where samples of this kind are not varied.
    """
    vary: Transform | None = getattr(AUGMENTATIONS.get(augment), preprocess.kind.value)(preprocess)
    if vary is None:
        raise ConfigError(f"augment {augment}: {preprocess.kind.nouns} are not varied; leave it at none")
    return lambda item: preprocess.prepare(item) if isinstance(item, Tensor) else vary(item)
