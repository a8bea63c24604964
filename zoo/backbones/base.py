"""What a backbone is, whatever library it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from zoo.registry import BackboneSpec


@dataclass(frozen=True)
class Stage:
    """A part of the network between input and output, by the names of its parameters (relative to the network)."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input at evaluation and prediction; training varies the same steps."""

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

    def resize_to(self) -> int:
        """Length of the shorter side before the centre crop, in pixels."""
        return int(self.size / self.crop_fraction)

    @property
    def decode_at(self) -> int:
        """Shortest side at which a JPEG may be decoded, in pixels: twice what it is resized to, so that the resizing still averages
        (Pillow's `reducing_gap` of 2: "almost indistinguishable"). Large photographs decode several times as fast."""
        return 2 * self.resize_to()

    def geometry(self) -> Callable[[Image.Image], Tensor]:
        """An RGB picture, resized and cropped, to `[3, size, size] uint8`. Deterministic."""
        mode = v2.InterpolationMode(self.interpolation)
        resize = v2.Resize(self.resize_to(), interpolation=mode, antialias=True)
        steps: Callable[[Image.Image], Tensor] = v2.Compose([resize, v2.CenterCrop(self.size), v2.PILToTensor()])
        return steps

    def normalise(self, images: Tensor) -> Tensor:
        """`[..., 3, size, size] uint8`, values 0..255, to float32, normalised; what is float already is taken as normalised.

        A batch at a time, and on its device: picture by picture it costs more than the resizing (2.5 times, 28 x 28 to 128 x 128).
        """
        if images.is_floating_point():
            return images
        # The kernels themselves: what chooses between them by the type of the input cannot be exported.
        scaled = functional.to_dtype_image(images, torch.float32, scale=True)
        normalised: Tensor = functional.normalize_image(scaled, list(self.mean), list(self.std))
        return normalised

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """The evaluation transform: an RGB picture to `[3, size, size] float32`, normalised. Deterministic."""
        steps: Callable[[Image.Image], Tensor] = v2.Compose([self.geometry(), self.normalise])
        return steps

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """The inverse of `to_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


@dataclass(frozen=True)
class WeightsOrigin:
    """Where a backbone's weights came from."""

    source: str
    """For people: `file x.safetensors`, `package NAME`, `cache timm/NAME`, `Hub timm/NAME`, `random, seed 0`."""
    sha256: str | None
    """Digest of the file; None for random weights."""
    licence: str
    """SPDX identifier or `unknown`."""


class Backbone(nn.Module, ABC):
    """A pretrained network without its classifier.

    The network itself is `net`; names in `stages`, in a family's regular expressions and in plans are relative to it.
    """

    spec: BackboneSpec
    net: nn.Module
    feature_dim: int
    """D, the width of `forward`'s output."""
    token_dim: int
    """The width of `tokens`' output."""
    stages: list[Stage]
    """Input to output; every parameter of `net` is in exactly one."""
    norms: list[str]
    """Names of the normalisation modules of `net`."""
    preprocess: Preprocess
    origin: WeightsOrigin
    base_sha256: str
    """Digest of every tensor of `net` right after loading, by name and value: what an adapter's file is tied to."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Pooled features `[B, feature_dim]` of pictures `[B, 3, size, size] float32`."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Features before pooling, `[B, T, token_dim]`: tokens of a transformer, positions of a feature map."""
