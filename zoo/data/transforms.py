"""How training pictures are varied: the backbone's own resizing with random steps in it, by torchvision's v2.

Every random choice is drawn from torch's global generator, which `loaders` seeds for each picture.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from zoo.backbones.base import Preprocess
from zoo.errors import UnknownName

Transform = Callable[[Image.Image], Tensor]

AUGMENTATIONS = ("none", "light", "standard", "strong")


def train_transform(preprocess: Preprocess, augment: str) -> Transform:
    """An RGB picture to `[3, size, size] uint8`; it is normalised with its batch (`Preprocess.normalise`).

    Args:
        augment: how much it is varied:

            - `none`: as at evaluation.
            - `light`: a crop of 70 to 100 % of the area, its sides at most 1.1 : 1. No flip and no colour: what is learned may
              depend on both (digits, text, traffic signs).
            - `standard`, for photographs: a crop of 35 to 100 % (fastai, nbs/examples/train_imagenette.py; the 8 % of Inception,
              arxiv.org/abs/1409.4842, is for training from nothing), sides up to 4 : 3 (ibid.), a horizontal flip for half of
              them, brightness and contrast by up to 20 % (fastai's `aug_transforms`: `max_lighting=0.2`).
            - `strong`: `standard`, and RandAugment with 2 operations of magnitude 9 (arxiv.org/abs/1909.13719; as DeiT,
              arxiv.org/abs/2012.12877, table 9) instead of the change of light, and for a quarter of the pictures a rectangle of
              2 to 33 % of the area in the mean colour (arxiv.org/abs/1708.04896; the share is DeiT's).

    Raises: UnknownName.
    """
    if augment not in AUGMENTATIONS:
        raise UnknownName("augmentation", augment, AUGMENTATIONS, f"(there are: {', '.join(AUGMENTATIONS)})")
    if augment == "none":
        return preprocess.geometry()
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
