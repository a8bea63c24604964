"""Much, for long runs on few samples."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms import v2

from zoo.backbones.audio import AudioPreprocess
from zoo.backbones.images import ImagePreprocess
from zoo.data.augmentation import Augmentation, Transform, below, between, vary_audio
from zoo.data.augmentations.light import compose, crop
from zoo.data.augmentations.standard import LEAST, RATIO, vary

TIME_MASKS, TIME_SHARE = 2, 0.1
"""Stretches of at most a tenth that are masked: half of the greatest share of SpecAugment's policy SM (arxiv.org/abs/1904.08779, table
1: p = 0.2), which is for sentences; what tells one class of audio from another may be short."""
BAND_MASKS, BAND_SHARE = 2, 0.2
"""Groups of bands of a spectrogram, of at most a fifth: 15 of 80 in the same policy."""


class Strong(Augmentation):
    """As `standard`, and more."""

    def image(self, preprocess: ImagePreprocess) -> Transform:
        """RandAugment with 2 operations of magnitude 9 (arxiv.org/abs/1909.13719; as DeiT, arxiv.org/abs/2012.12877, table 9) in place of
        the change of light, and for a quarter of the images a rectangle of 2 to 33 % of the area in the mean colour
        (arxiv.org/abs/1708.04896; the share is DeiT's)."""
        mean = [round(255 * one) for one in preprocess.mean]
        return compose(
            crop(preprocess, LEAST, RATIO),
            v2.RandomHorizontalFlip(0.5),
            v2.RandAugment(num_ops=2, magnitude=9, interpolation=v2.InterpolationMode.BILINEAR),
            v2.PILToTensor(),
            v2.RandomErasing(0.25, scale=(0.02, 0.33), value=mean),
        )

    def audio(self, preprocess: AudioPreprocess) -> Transform:
        """Stretches of time, in spectrograms bands too, masked as SpecAugment does (arxiv.org/abs/1904.08779)."""
        return vary_audio(preprocess, lambda samples, rate: vary(samples, preprocess, rate), mask)


def mask(sample: Tensor) -> Tensor:
    """A sample `[W, T]` or `[W, F, mels]` with stretches of each window, and of its bands, at the window's mean; in place."""
    for window in sample:
        there = ~window.isnan()
        length, middle = int(there[:, 0].sum() if window.ndim == 2 else there.sum()), window[there].mean()
        for _ in range(TIME_MASKS):
            width = int(between(0, TIME_SHARE) * length)
            start = below(length - width + 1)
            window[start : start + width] = middle
        for _ in range(BAND_MASKS if window.ndim == 2 else 0):
            width = int(between(0, BAND_SHARE) * window.shape[1])
            start = below(window.shape[1] - width + 1)
            window[:length, start : start + width] = middle
    return sample


AUGMENTATION = Strong()
