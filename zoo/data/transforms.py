"""How training samples are varied: the backbone's own preparation with random steps in it."""

from __future__ import annotations

from torch import Tensor

from zoo.backbones.base import Preprocess
from zoo.data.augmentations.base import Transform
from zoo.errors import ConfigError
from zoo.plugins import AUGMENTATIONS


def train_transform(preprocess: Preprocess, augment: str) -> Transform:
    """From an item of a sample set to a sample, as `Preprocess.prepare`, but varied as `augment` says. A tensor is prepared already.

    Raises: UnknownName; ConfigError where samples of this kind are not varied.
    """
    vary: Transform | None = getattr(AUGMENTATIONS.get(augment), preprocess.kind.value)(preprocess)
    if vary is None:
        raise ConfigError(f"augment {augment}: {preprocess.kind.nouns} are not varied; leave it at none")
    return lambda item: preprocess.prepare(item) if isinstance(item, Tensor) else vary(item)
