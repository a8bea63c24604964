"""How images become a network's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from zoo.backbones.backbone import Preprocess
from zoo.errors import shown
from zoo.types import Kind

_THIN, _RESIZED = 32, 1 << 22
"""An image is resized as a whole while its sides are at most so many to one, or it has so many pixels at most afterwards."""


@dataclass(frozen=True)
class ImagePreprocess(Preprocess):
    """How an image becomes the network's input: a sample is `[3, size, size] uint8`, a batch of them is stacked.

    A float32 sample is taken as normalised already.
    """

    kind = Kind.IMAGE

    size: int
    """Side of the square input in pixels."""
    mean: tuple[float, float, float]
    """Subtracted from each RGB channel, whose values lie in 0..1."""
    std: tuple[float, float, float]
    """Divides each channel afterwards."""
    interpolation: str
    """`bilinear`, `bicubic` or another of torchvision's `InterpolationMode` values."""
    crop_fraction: float
    """The shorter side is resized to size / crop_fraction, then the centre is cut out; 0 to 1."""
    bit_depth: int | None = None
    """Bits that 16-bit values used in the images that were trained on, 1 to 16; None: there were no such images."""

    def __post_init__(self) -> None:
        """Raises: ValueError, TypeError for values that a damaged or foreign `config.json` may hold."""
        if type(self.size) is not int or not 1 <= self.size <= 1 << 14:
            raise ValueError(f"size is {shown(self.size)}; expected pixels")
        numbers = (*self.mean, *self.std, self.crop_fraction)
        plain = all(isinstance(one, (int, float)) and abs(one) < 1e6 for one in numbers)
        if not plain or (len(self.mean), len(self.std)) != (3, 3) or not all(self.std) or not 0 < self.crop_fraction <= 2:
            raise ValueError(f"mean, std and crop_fraction are {shown(numbers)}; expected three, three and one number")
        v2.InterpolationMode(self.interpolation)
        if self.bit_depth is not None and (type(self.bit_depth) is not int or not 1 <= self.bit_depth <= 16):
            raise ValueError(f"bit_depth is {shown(self.bit_depth)}; expected 1 to 16, or nothing")

    def resize_to(self) -> int:
        """Length of the shorter side before the centre crop, in pixels."""
        return int(self.size / self.crop_fraction)

    @property
    def decode_at(self) -> int:
        """Shortest side at which a JPEG may be decoded, in pixels: twice what it is resized to, so that the resizing still averages
        (Pillow's `reducing_gap` of 2: "almost indistinguishable"). Large photographs decode several times as fast."""
        return 2 * self.resize_to()

    def prepare(self, item: Image.Image | Tensor) -> Tensor:
        """`[3, size, size] uint8` of an RGB image; a float tensor of this shape stays as it is. Raises: ValueError."""
        if not isinstance(item, Tensor):
            return self._geometry(item)
        if item.shape != (3, self.size, self.size):
            wanted = f"[3, {self.size}, {self.size}], preprocessed (or give a PIL image or uint8)"
            raise ValueError(f"a float tensor {list(item.shape)}; expected {wanted}")
        return item

    @cached_property
    def _geometry(self) -> Callable[[Image.Image], Tensor]:
        return self.geometry()

    def collate(self, samples: Sequence[Tensor]) -> Tensor:
        """`[B, 3, size, size]`. Raises: ValueError where some are normalised already and others are not."""
        if len({sample.dtype for sample in samples}) > 1:
            raise ValueError("some images of one data set are normalised already (float) and others are not; give one kind")
        batch: Tensor = default_collate(list(samples))  # in a worker: into shared memory, without a copy
        return batch

    def ready(self, batch: Tensor) -> Tensor:
        """Normalised: see `normalise`."""
        return self.normalise(batch)

    def example(self, count: int) -> Tensor:
        """`[count, 3, size, size] float32`, drawn from a normal distribution."""
        return torch.randn(count, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))

    def options(self) -> dict[str, Any]:
        """`image_size`."""
        return {"image_size": self.size}

    def geometry(self) -> Callable[[Image.Image], Tensor]:
        """An RGB image, resized and cropped, to `[3, size, size] uint8`. Deterministic."""
        steps: Callable[[Image.Image], Tensor] = v2.Compose([self._resize, v2.CenterCrop(self.size), v2.PILToTensor()])
        return steps

    def _resize(self, image: Image.Image) -> Image.Image:
        """With a shorter side of `resize_to()` pixels; of a long and thin image, which would take gigabytes, only what the crop keeps."""
        side = self.resize_to()
        short, long = sorted(image.size)
        if long <= max(_THIN, _RESIZED / side**2) * short:
            resized: Image.Image = functional.resize(image, [side], v2.InterpolationMode(self.interpolation), antialias=True)
            return resized
        whole = int(side * long / short)  # as torchvision has it, and where its crop begins
        start = round((whole - self.size) / 2)
        first, last = start * long / whole, (start + self.size) * long / whole
        method = Image.Resampling[self.interpolation.removesuffix("-exact").upper()]
        if image.width == long:
            return image.resize((self.size, side), method, (first, 0, last, short))
        return image.resize((side, self.size), method, (0, first, short, last))

    def normalise(self, images: Tensor) -> Tensor:
        """`[..., 3, size, size] uint8`, values 0..255, to float32, normalised; what is float already is taken as normalised.

        A batch at a time, and on its device: image by image it costs more than the resizing (2.5 times, 28 x 28 to 128 x 128).
        """
        if images.is_floating_point():
            return images
        # The kernels themselves: what chooses between them by the type of the input cannot be exported.
        scaled = functional.to_dtype_image(images, torch.float32, scale=True)
        normalised: Tensor = functional.normalize_image(scaled, list(self.mean), list(self.std))
        return normalised

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """The evaluation transform: an RGB image to `[3, size, size] float32`, normalised. Deterministic."""
        steps: Callable[[Image.Image], Tensor] = v2.Compose([self.geometry(), self.normalise])
        return steps

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `config.json`; without a bit depth where there is none."""
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImagePreprocess:
        """The inverse of `to_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
