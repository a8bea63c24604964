"""Images decoded once: their pixels on the disk, exactly as `open_image` gives them, for training that reads them many times.

An image is cut into pages, rows of one size, so that images of any size lie in one space of the cache. The first page begins with
the image's width and height. Keys are the first 56 digits of the digest of the file's bytes and the page's number in 8.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo import cache
from zoo.cache import KEY, Integers, Keys, Shards, Space
from zoo.data.sets import SampleSet

PAGE = 1 << 15
"""Bytes of a page."""
_HEADER = 8
_AT_ONCE = 64
"""Images that are decoded before their pages are handed on."""


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


def size(images: SampleSet, at_least: int, sample: int = 16) -> int:
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
