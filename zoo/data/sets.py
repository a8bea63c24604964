"""Pictures with their classes, by index: from files, from arrays in memory, or from a user's own data set."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo.data.pictures import open_picture
from zoo.errors import DataError

Integers = NDArray[np.int64]
Texts = NDArray[np.bytes_]
"""Texts of at most a few hundred bytes, in one block of memory: a list of Python strings would be copied, page by page, into each
worker as their reference counts change."""

DIGEST = np.dtype("S64")
"""A sha256 in hexadecimal; empty where a picture has none."""


@dataclass(frozen=True, kw_only=True)
class PictureSet(ABC):
    """Labelled pictures. Every field that is an array has a row for each."""

    targets: Integers
    """`[N] int64`, indices into the class names."""
    digests: Texts
    """`[N]`, of type `DIGEST`."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image | Tensor, int]:
        """The picture and its class, as any torch map-style data set gives them."""
        return self.picture(index), self.target(index)

    def target(self, index: int) -> int:
        """The class of a picture."""
        return int(self.targets[index])

    def digest(self, index: int) -> str:
        """sha256 of a picture's bytes; empty if it has none."""
        return bytes(self.digests[index]).decode("ascii")

    def subset(self, indices: Integers) -> Self:
        """The pictures at these indices, in their order."""
        arrays = {own.name: getattr(self, own.name) for own in fields(self)}
        return replace(self, **{name: rows[indices] for name, rows in arrays.items() if isinstance(rows, np.ndarray)})

    @abstractmethod
    def name(self, index: int) -> str:
        """What people call the picture: for a file, its path inside the folder of the data."""

    @abstractmethod
    def picture(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        """RGB picture, or a float tensor `[3, S, S]` that is preprocessed already. Raises: DataError, naming it.

        at_least: a JPEG file may be decoded smaller, with no side shorter than so many pixels."""


@dataclass(frozen=True, kw_only=True)
class FileSet(PictureSet):
    """Picture files under one folder."""

    root: Path
    names: Texts
    """`[N]`, paths relative to `root`, as the file system's bytes."""

    def name(self, index: int) -> str:
        return os.fsdecode(bytes(self.names[index]))

    def picture(self, index: int, at_least: int | None = None) -> Image.Image:
        return open_picture(self.root / self.name(index), at_least=at_least)


@dataclass(frozen=True, kw_only=True)
class ArraySet(PictureSet):
    """Grey pictures in memory, of one size."""

    title: str
    images: NDArray[np.uint8]
    """`[N, H, W]`"""
    numbers: Integers
    """`[N]`, the place of each in the whole, for its name."""

    def name(self, index: int) -> str:
        return f"{self.title}/{self.numbers[index]:05d}"

    def picture(self, index: int, at_least: int | None = None) -> Image.Image:
        return Image.fromarray(self.images[index]).convert("RGB")


@dataclass(frozen=True, kw_only=True)
class DatasetSet(PictureSet):
    """A user's map-style data set that gives (picture, class).

    A picture is a PIL picture or a `uint8` tensor `[3, H, W]` (grey: `[1, H, W]` or `[H, W]`), which are treated as files are; or
    a floating-point tensor `[3, S, S]`, which is taken as preprocessed and augmented already and goes to the network as it is.
    """

    title: str
    dataset: Any
    numbers: Integers
    """`[N]`, indices into `dataset`."""

    def name(self, index: int) -> str:
        return f"{self.title}[{self.numbers[index]}]"

    def picture(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        item, target = self.dataset[int(self.numbers[index])]
        if int(target) != self.target(index):
            raise DataError(f"{self.name(index)}: gives class {int(target)}, but its list of targets says {self.target(index)}")
        if not isinstance(item, Tensor):
            if not isinstance(item, Image.Image):
                raise DataError(f"{self.name(index)}: gives a {type(item).__name__}; expected a PIL picture or a tensor")
            return open_picture(item, self.name(index))
        if item.is_floating_point():
            return item.float()
        if item.ndim == 2:
            item = item[None]
        if item.dtype != torch.uint8 or item.ndim != 3 or item.shape[0] not in (1, 3):
            raise DataError(f"{self.name(index)}: a tensor {list(item.shape)} {item.dtype}; expected [3, H, W] uint8 or float")
        return Image.fromarray(item.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True)
class Source:
    """What a place holds, read and checked, before it is split."""

    description: str
    """For people: where the pictures are, or what they are."""
    licence: str
    """SPDX identifier or `unknown`."""
    classes: tuple[str, ...]
    """Names behind the targets, naturally sorted."""
    parts: dict[str, PictureSet]
    """By split (`train`, `val`, `test`), or under `all` where the source has no splits."""
    unreadable: list[str] = field(default_factory=list)
    """`name: reason` of each picture that was left out."""
    ignored: int = 0
    """Files that are not pictures by their names, and links to folders."""
    notices: list[str] = field(default_factory=list)
    """One line each, for people."""
