"""Samples as they are."""

from __future__ import annotations

from zoo.backbones.backbone import Preprocess
from zoo.data.augmentation import Augmentation, Transform


class Nothing(Augmentation):
    """Varies no kind of sample."""

    def image(self, preprocess: Preprocess) -> Transform:
        return preprocess.prepare

    text = audio = image


AUGMENTATION = Nothing()
