"""Images decoded once, where reading them is what training waits for: their pixels on the disk, exactly as `open_image` gives them.

An image is cut into pages, rows of one size, so that images of any size lie in one space of the cache. The first page begins with
the image's width and height. Keys are the first 56 digits of the digest of the file's bytes and the page's number in 8.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo import cache
from zoo.adaptation.model import AdaptedModel
from zoo.backbones import generator
from zoo.cache import KEY, Integers, Keys, Shards, Space
from zoo.config import FinetuneConfig
from zoo.data.augmentation import train_transform
from zoo.data.sets import SampleSet
from zoo.data.splits import Splits
from zoo.training.method import room, seconds

log = logging.getLogger("zoo")

PAGE = 1 << 15
"""Bytes of a page."""
_HEADER = 8
_AT_ONCE = 64
"""Images that are decoded before their pages are handed on."""
SAMPLE = 16
"""Images that are timed."""
BACKWARD = 3.0
"""Times a forward pass that a training step takes (a backward pass costs two: with respect to inputs, and to weights)."""


@dataclass(frozen=True, kw_only=True)
class DecodedSet(SampleSet):
    """Another set's images, read from their pages."""

    inner: SampleSet
    space: Space

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def item(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        """As the other set's, for the `at_least` that it was decoded with."""
        digest = self.digest(index)
        first = self.space.rows(_keys(digest, 0, 1))[:][0]
        width, height = (int(number) for number in first[:_HEADER].view("<u4"))
        pages = self.space.rows(_keys(digest, 0, _pages(width, height)))[:]
        pixels = pages.reshape(-1)[_HEADER : _HEADER + width * height * 3]
        return Image.fromarray(pixels.reshape(height, width, 3))


def decode(images: SampleSet, root: Path, at_least: int) -> SampleSet:
    """The images with their pixels in the cache at `root`; those that are not yet there are decoded now, in threads.

    Images without a digest cannot be found again: then it is `images` itself.
    Raises: DataError naming an image that cannot be read; OutputError.
    """
    if not images.digests.astype(bool).all():
        return images
    facts = {"what": "decoded", "at_least": at_least, "page": PAGE, "shape": [PAGE], **images.read_as}
    space = Space(cache.folder(root, "images", facts) or cache.passing(), (PAGE,), "u1")
    firsts = np.concatenate([_keys(images.digest(index), 0, 1) for index in range(len(images))])

    def compute(missing: Integers) -> None:
        with Shards(space) as shards, ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(missing), _AT_ONCE):
                some = [int(index) for index in missing[start : start + _AT_ONCE]]
                for index, image in zip(some, pool.map(lambda one: images.item(one, at_least), some), strict=True):
                    shards.add(*_cut(images.digest(index), image))

    space.fill(firsts, compute)
    return DecodedSet(targets=images.targets, digests=images.digests, inner=images, space=space)


def decoded_size(images: SampleSet, at_least: int, sample: int = 16) -> int:
    """About how many bytes the decoded images take, by a sample of them."""
    some = np.linspace(0, len(images) - 1, min(sample, len(images))).astype(int)
    opened = (images.item(int(index), at_least) for index in some)
    pages = [_pages(*image.size) for image in opened if isinstance(image, Image.Image)]
    return int(np.mean(pages) * PAGE * len(images)) if pages else 0


def _keys(digest: str, start: int, stop: int) -> Keys:
    return np.array([f"{digest[:56]}{number:08x}" for number in range(start, stop)], KEY)


def _pages(width: int, height: int) -> int:
    return -(-(_HEADER + width * height * 3) // PAGE)


def _cut(digest: str, image: Any) -> tuple[Keys, NDArray[np.uint8]]:
    """The pages of an image, which go into one shard: there are all of them, or none."""
    width, height = image.size
    count = _pages(width, height)
    pages = np.zeros((count, PAGE), np.uint8)
    flat = pages.reshape(-1)
    flat[:_HEADER] = np.array([width, height], "<u4").view(np.uint8)
    flat[_HEADER : _HEADER + width * height * 3] = np.asarray(image).reshape(-1)
    return _keys(digest, 0, count), pages


@dataclass(frozen=True)
class Reading:
    """Seconds an image, of one process."""

    decode: float
    """From the file to RGB pixels."""
    vary: float
    """From these to the network's input, varied as in training."""


def time_reading(images: SampleSet, model: AdaptedModel, augment: str) -> Reading:
    """Time reading a sample of images. Raises: DataError naming one that cannot be read."""
    preprocess = model.backbone.preprocess
    transform = train_transform(preprocess, augment)
    some = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    began = time.perf_counter()
    opened = [images.item(int(index), preprocess.decode_at) for index in some]
    between = time.perf_counter()
    with generator.forked():
        for image in opened:
            if isinstance(image, Image.Image):
                transform(image)
    return Reading((between - began) / len(some), (time.perf_counter() - between) / len(some))


def decoded_once(splits: Splits, model: AdaptedModel, config: FinetuneConfig) -> Splits:
    """The splits, with the images that each epoch reads decoded and kept where that pays, or was asked for.

    It pays where reading takes longer than a training step, decoding is most of it, there is more than one epoch, and there is room.
    """
    root, asked = cache.place(config.machine.cache), config.data.keep_decoded
    known = all(part.digests.astype(bool).all() for part in (splits.train, splits.val))
    if asked == "never" or root is None or not known or (asked == "auto" and config.optim.epochs <= 1):
        return splits
    preprocess = model.backbone.preprocess
    at_least = preprocess.decode_at
    if at_least is None:  # not images
        return splits
    need = decoded_size(splits.train, at_least) + decoded_size(splits.val, at_least)
    if asked == "auto":
        reading = time_reading(splits.train, model, config.data.augment)
        workers = max(1, config.data.num_workers or 0)
        example = preprocess.example(4).to(next(model.parameters()).device)
        step = BACKWARD * seconds(model, example) / len(example)
        waits = (reading.decode + reading.vary) / workers > step and reading.decode > reading.vary
        if not waits:
            return splits
        log.info(
            "reading an image takes %.1f ms (decoding %.1f), a step %.1f: they are decoded once, %.1f GB",
            1e3 * (reading.decode + reading.vary), 1e3 * reading.decode, 1e3 * step, need / 1e9,
        )  # fmt: skip
    if need > room(config):
        log.warning(
            "decoded images would take %.1f GB; there is room for %.1f: they are not kept", need / 1e9, room(config) / 1e9
        )
        return splits
    return replace(splits, train=decode(splits.train, root, at_least), val=decode(splits.val, root, at_least))
