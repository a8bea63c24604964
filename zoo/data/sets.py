"""Samples with their targets, by index: from files, from tables, from arrays in memory, or from a user's own data set."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo.backbones.audio import AudioClip
from zoo.data.decoding.audio_files import open_audio
from zoo.data.decoding.image_files import open_image
from zoo.data.on_disk import DiskStrings, Strings, characters
from zoo.data.targets import Targets
from zoo.errors import DataError
from zoo.types import Kind, Schema, Task

Integers = NDArray[np.int64]
Texts = NDArray[np.bytes_]
"""Texts of at most a few hundred bytes, in one block of memory: a list of Python strings would be copied, page by page, into each
worker as their reference counts change."""

ALL = "all"
"""The part that stands for everything, where there are no splits."""
DIGEST = np.dtype("S64")
"""A sha256 in hexadecimal; empty where a sample has none."""


@dataclass(frozen=True, kw_only=True)
class SampleSet(ABC):
    """Labelled samples of one kind. Every field that is an array has a row for each."""

    kind: ClassVar[Kind] = Kind.IMAGE

    targets: Targets
    """`[N] int64`, indices into the class names; of other tasks `[N, C]` floats (`zoo.data.targets`)."""
    digests: Texts
    """`[N]`, of type `DIGEST`."""
    groups: Integers | None = None
    """`[N]`: the number of each sample's group, alike over all sets of a source; None: each stands alone."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """The item and its class (or what else its target is), as any torch map-style data set gives them."""
        return self.item(index), self.target(index)

    def target(self, index: int) -> int | tuple[float, ...]:
        """The class of a sample, or its row of the targets."""
        row = self.targets[index].tolist()
        return tuple(row) if isinstance(row, list) else int(row)

    def digest(self, index: int) -> str:
        """sha256 of a sample's bytes; empty if it has none."""
        return bytes(self.digests[index]).decode("ascii")

    def subset(self, indices: Integers) -> Self:
        """The samples at these indices, in their order."""
        arrays = {own.name: getattr(self, own.name) for own in fields(self)}
        picked: dict[str, Any] = {
            name: rows[indices] for name, rows in arrays.items() if isinstance(rows, (np.ndarray, DiskStrings))
        }
        return replace(self, **picked)

    @abstractmethod
    def name(self, index: int) -> str:
        """What people call the sample: for a file, its path inside the folder of the data; for a row, `table.csv, row 17`."""

    @abstractmethod
    def item(self, index: int, at_least: int | None = None) -> Any:
        """What `Preprocess.prepare` of this kind takes: an RGB image, or a float tensor `[3, S, S]` that is preprocessed already; a
        text, or a pair of them. Raises: DataError, naming it.

        at_least: a JPEG file may be decoded smaller, with no side shorter than so many pixels."""

    @property
    def read_as(self) -> dict[str, Any]:
        """What decides, beside the bytes of a sample, what its item is: part of the key of what is kept of it."""
        return {}

    @property
    def sizes(self) -> Integers | None:
        """How much there is to compute for each sample, `[N]` in any unit: samples of like size make the best batches.
        None: the same for all."""
        return None


@dataclass(frozen=True, kw_only=True)
class FileSet(SampleSet):
    """Image files under one folder; one whose bytes are no longer those of its digest is an error."""

    root: Path
    names: Texts
    """`[N]`, paths relative to `root`, as the file system's bytes."""
    bit_depth: int | None = None
    """Bits that 16-bit values use in the whole data set; None: it has no such images."""

    def name(self, index: int) -> str:
        return os.fsdecode(bytes(self.names[index]))

    def item(self, index: int, at_least: int | None = None) -> Image.Image:
        path, digest = self.root / self.name(index), self.digest(index)
        return open_image(path, at_least=at_least, sha256=digest, bit_depth=self.bit_depth)

    @property
    def read_as(self) -> dict[str, Any]:
        return {} if self.bit_depth is None else {"bit_depth": self.bit_depth}


@dataclass(frozen=True, kw_only=True)
class AudioFiles(SampleSet):
    """Files of audio clips under one folder; one whose bytes are no longer those of its digest is an error."""

    kind = Kind.AUDIO

    root: Path
    names: Texts
    """`[N]`, paths relative to `root`, as the file system's bytes."""
    milliseconds: Integers
    """`[N]`, how long each lasts."""
    rates: Integers
    """`[N]`, samples a second of each."""
    channels: Integers
    """`[N]`, of each file; an item has their mean."""

    def name(self, index: int) -> str:
        return os.fsdecode(bytes(self.names[index]))

    def item(self, index: int, at_least: int | None = None) -> AudioClip:
        return open_audio(self.root / self.name(index), sha256=self.digest(index))

    @property
    def sizes(self) -> Integers:
        """How long each lasts."""
        return self.milliseconds


@dataclass(frozen=True, kw_only=True)
class TextSet(SampleSet):
    """Texts in memory or on the disk, or pairs of them, each a row of a table."""

    kind = Kind.TEXT

    title: str
    """What people call the table."""
    texts: Strings
    """`[N]`"""
    seconds: Strings | None
    """`[N]`, the second text of each pair; None: there are no pairs."""
    numbers: Integers
    """`[N]`, row numbers in the table."""

    def name(self, index: int) -> str:
        return f"{self.title}, row {self.numbers[index]}"

    def item(self, index: int, at_least: int | None = None) -> str | tuple[str, str]:
        text = str(self.texts[index])
        return text if self.seconds is None else (text, str(self.seconds[index]))

    @property
    def sizes(self) -> Integers:
        """Characters, to which tokens are nearly proportional."""
        lengths = characters(self.texts)
        return lengths if self.seconds is None else lengths + characters(self.seconds)


@dataclass(frozen=True, kw_only=True)
class ArraySet(SampleSet):
    """Grey images in memory, of one size."""

    title: str
    images: NDArray[np.uint8]
    """`[N, H, W]`"""
    numbers: Integers
    """`[N]`, the place of each in the whole, for its name."""

    def name(self, index: int) -> str:
        return f"{self.title}/{self.numbers[index]:05d}"

    def item(self, index: int, at_least: int | None = None) -> Image.Image:
        return Image.fromarray(self.images[index]).convert("RGB")


@dataclass(frozen=True, kw_only=True)
class DatasetSet(SampleSet):
    """A user's map-style data set that gives (image, class).

    An image is a PIL image or a `uint8` tensor `[3, H, W]` (grey: `[1, H, W]` or `[H, W]`), which are treated as files are; or
    a floating-point tensor `[3, S, S]`, which is taken as preprocessed and augmented already and goes to the network as it is.
    """

    title: str
    dataset: Any
    numbers: Integers
    """`[N]`, indices into `dataset`."""
    bit_depth: int | None = None
    """Bits that 16-bit values use in the whole data set; None: it has no such images."""

    def name(self, index: int) -> str:
        return f"{self.title}[{self.numbers[index]}]"

    def item(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        item, target = self.dataset[int(self.numbers[index])]
        if target != self.target(index):
            raise DataError(f"{self.name(index)}: gives class {target}, but its list of targets says {self.target(index)}")
        if not isinstance(item, Tensor):
            if not isinstance(item, Image.Image):
                raise DataError(f"{self.name(index)}: gives a {type(item).__name__}; expected a PIL image or a tensor")
            return open_image(item, self.name(index), bit_depth=self.bit_depth)
        if item.is_floating_point():
            return item.float()
        if item.ndim == 2:
            item = item[None]
        if item.dtype != torch.uint8 or item.ndim != 3 or item.shape[0] not in (1, 3):
            raise DataError(f"{self.name(index)}: a tensor {list(item.shape)} {item.dtype}; expected [3, H, W] uint8 or float")
        return Image.fromarray(item.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True)
class Opened:
    """What a place holds, read and checked, before it is split."""

    description: str
    """For people: where the samples are, or what they are."""
    licence: str
    """SPDX identifier or `unknown`."""
    classes: tuple[str, ...]
    """Names behind the targets: of classes, naturally sorted; of labels or values, in their order."""
    parts: dict[str, SampleSet]
    """By split (`train`, `val`, `test`), or under `all` where the source has no splits."""
    unreadable: list[str] = field(default_factory=list)
    """`name: reason` of each sample that was left out."""
    ignored: int = 0
    """Files that are not images by their names, and links to folders."""
    notices: list[str] = field(default_factory=list)
    """One line each, for people."""
    task: Task = Task.CLASSIFICATION
    kind: Kind = Kind.IMAGE
    bit_depth: int | None = None
    """Bits that 16-bit values use in all of its images; None: it has no such images."""
    schema: Schema = field(default_factory=Schema)
    """Columns that were read."""
    examined: bool = False
    """Whether the notices speak already of class names that are alike, and of one sample with two targets."""
