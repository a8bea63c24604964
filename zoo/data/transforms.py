"""How training samples are varied: of pictures, the backbone's own resizing with random steps in it, by torchvision's v2;
of recordings, see `zoo.data.sound_transforms`.

Every random choice is drawn from torch's global generator, which `loaders` seeds for each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from zoo.backbones.base import Preprocess
from zoo.backbones.pictures import PicturePreprocess
from zoo.backbones.sounds import AudioPreprocess
from zoo.data.sound_transforms import LEVELS, vary_sound
from zoo.errors import ConfigError, UnknownName

Transform = Callable[[Any], Tensor]

AUGMENTATIONS = ("none", *LEVELS)


def train_transform(preprocess: Preprocess, augment: str) -> Transform:
    """From an item of a sample set to a sample, as `Preprocess.prepare`, but varied.

    Raises: UnknownName; ConfigError where samples of this kind are not varied.
    """
    if augment not in AUGMENTATIONS:
        raise UnknownName("augmentation", augment, AUGMENTATIONS, f"(there are: {', '.join(AUGMENTATIONS)})")
    if augment == "none":
        return preprocess.prepare
    if isinstance(preprocess, AudioPreprocess):
        return vary_sound(preprocess, augment)
    if not isinstance(preprocess, PicturePreprocess):
        raise ConfigError(f"augment {augment}: {preprocess.kind.nouns} are not varied; leave it at none")
    vary = vary_picture(preprocess, augment)
    return lambda item: preprocess.prepare(item) if isinstance(item, Tensor) else vary(item)


def vary_picture(preprocess: PicturePreprocess, augment: str) -> Transform:
    """An RGB picture to `[3, size, size] uint8`; it is normalised with its batch (`PicturePreprocess.normalise`).

    Args:
        augment: how much it is varied:

            - `light`: a crop of 70 to 100 % of the area, its sides at most 1.1 : 1. No flip and no colour: what is learned may
              depend on both (digits, text, traffic signs).
            - `standard`, for photographs: a crop of 35 to 100 % (fastai, nbs/examples/train_imagenette.py; the 8 % of Inception,
              arxiv.org/abs/1409.4842, is for training from nothing), sides up to 4 : 3 (ibid.), a horizontal flip for half of
              them, brightness and contrast by up to 20 % (fastai's `aug_transforms`: `max_lighting=0.2`).
            - `strong`: `standard`, and RandAugment with 2 operations of magnitude 9 (arxiv.org/abs/1909.13719; as DeiT,
              arxiv.org/abs/2012.12877, table 9) instead of the change of light, and for a quarter of the pictures a rectangle of
              2 to 33 % of the area in the mean colour (arxiv.org/abs/1708.04896; the share is DeiT's).

    Raises: UnknownName for another level.
    """
    if augment not in LEVELS:
        raise UnknownName("augmentation", augment, LEVELS, f"(there are: {', '.join(LEVELS)})")
    mode = v2.InterpolationMode(preprocess.interpolation)
    least, ratio = (0.7, 1.1) if augment == "light" else (0.35, 4 / 3)
    crop = v2.RandomResizedCrop(preprocess.size, (least, 1.0), (1 / ratio, ratio), interpolation=mode, antialias=True)
    steps: dict[str, list[Transform]] = {
        "light": [crop, v2.PILToTensor()],
        "standard": [crop, v2.RandomHorizontalFlip(0.5), v2.ColorJitter(brightness=0.2, contrast=0.2), v2.PILToTensor()],
        "strong": [
            crop,
            v2.RandomHorizontalFlip(0.5),
            v2.RandAugment(num_ops=2, magnitude=9, interpolation=v2.InterpolationMode.BILINEAR),
            v2.PILToTensor(),
            v2.RandomErasing(0.25, scale=(0.02, 0.33), value=[round(255 * mean) for mean in preprocess.mean]),
        ],
    }
    transform: Transform = v2.Compose(steps[augment])
    return transform
