"""Samples that are the same, or nearly: found by keys and by bands of hashes, never by comparing each with each.

Images have a perceptual hash (the signs of the low frequencies; bit by bit that of the imagehash library's `phash`, which would
bring a wavelet library along that nothing here needs), and a tiny copy in colour, which confirms what the hash suggests. Texts are
compared without case, white space and punctuation.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.data.sets import Integers

LOOK = np.dtype([("width", "<u4"), ("height", "<u4"), ("hash", "<u8"), ("tiny", "u1", (8, 8, 3))])
"""An image's size in pixels, its perceptual hash, and a copy of 8 x 8 pixels."""
DISTANCE = 4
"""Bits of 64 in which the hashes of near duplicates may differ. Scaling, JPEG and changes of brightness move 0 to 4 of them; two
images that have nothing to do with each other differ in 32 on average, and in 4 or fewer once in 10^13."""
LIKENESS = 0.98
"""Least correlation between the tiny copies of near duplicates: it tells drawings and digits apart, whose hashes are alike."""
FLAT = 1.0
"""Standard deviation of a tiny copy, of 255, below which an image has nothing on it by which to tell it from others."""

_SIDE, _LOW = 32, 8
"""Pixels that are transformed, and frequencies that are kept, in each direction."""
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""First bit and width of each: of five bands, four different bits leave one alike."""
_REACH = 1000
"""Neighbours in a band with which an image is compared; more are alike in it only where most of the images are one series."""

Alike = Callable[[Integers, Integers], NDArray[np.bool_]]


def look(image: Image.Image) -> NDArray[Any]:
    """What an RGB image is compared by, one record of type `LOOK`."""
    tiny = np.asarray(image.resize((8, 8), Image.Resampling.BOX))
    return np.array((*image.size, perceptual_hash(image), tiny), LOOK)


def perceptual_hash(image: Image.Image) -> int:
    """64 bits, row by row: which of the 8 x 8 lowest frequencies of the grey image, scaled to 32 x 32, are above their median."""
    from scipy.fft import dctn  # comes with scikit-learn; a tenth of a second, and only this needs it

    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, np.float64))[:_LOW, :_LOW]
    low = np.where(np.abs(low) < 1e-6, 0.0, low)  # a flat image has rounding errors there, in any order
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def normal_text(text: str) -> str:
    """A text without what near duplicates may differ in: case, white space, punctuation, and Unicode's forms of one character.

    A text of nothing else stays as it is, but for white space.

    >>> normal_text("  Don't  STOP, now!!"), normal_text("?!")
    ('don t stop now', '?!')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_punctuation()).split()) or " ".join(folded.split())


def text_key(item: str | tuple[str, str]) -> bytes:
    """What a text, or a pair of texts, has in common with its near duplicates: 32 hexadecimal digits."""
    texts = [item] if isinstance(item, str) else item
    return hashlib.blake2b("\0".join(map(normal_text, texts)).encode(errors="surrogatepass"), digest_size=16).hexdigest().encode()


def same(keys: NDArray[Any]) -> list[Integers]:
    """The groups of two or more whose keys are equal, in the order of their first members; an empty key is like no other."""
    filled = np.flatnonzero(keys.astype(bool))
    return _groups(filled, np.unique(keys[filled], return_inverse=True)[1])


def near(looks: NDArray[Any]) -> list[Integers]:
    """The groups of two or more images, of records `LOOK [N]`, that near duplicates join, in the order of their first members.

    Of a series each of which is like the next, the first may be unlike the last. Flat images are left out.
    """
    tiny = looks["tiny"].reshape(len(looks), 8 * 8 * 3).astype(np.float32)
    tiny -= tiny.mean(axis=1, keepdims=True)
    spread = tiny.std(axis=1)
    vivid = np.flatnonzero(spread >= FLAT)
    scaled = tiny[vivid] / (spread[vivid, None] * np.sqrt(tiny.shape[1]))
    hashes = looks["hash"][vivid]

    def alike(one: Integers, other: Integers) -> NDArray[np.bool_]:
        close: NDArray[np.bool_] = np.bitwise_count(hashes[one] ^ hashes[other]) <= DISTANCE
        close[close] = np.einsum("nd,nd->n", scaled[one[close]], scaled[other[close]]) >= LIKENESS
        return close

    return _groups(vivid, _join(hashes, alike))


def _join(hashes: NDArray[np.uint64], alike: Alike) -> Integers:
    """`[N]`, the same number for those that pairs connect; only pairs with a band of their hashes in common are looked at."""
    connected = _Connected(len(hashes))
    for first, width in _BANDS:
        band = (hashes >> np.uint64(first)) & np.uint64((1 << width) - 1)
        order = np.lexsort((hashes, band))
        sorted_band = band[order]
        for step in range(1, _REACH):
            together = np.flatnonzero(sorted_band[step:] == sorted_band[:-step])
            if not len(together):
                break
            connected.add(order[together], order[together + step], alike)
    return connected.numbers()


class _Connected:
    """Which of N are joined by pairs, directly or by others."""

    def __init__(self, count: int) -> None:
        self._numbers = np.arange(count)
        self._waiting: list[NDArray[np.int64]] = []

    def add(self, one: Integers, other: Integers, alike: Alike) -> None:
        """Join those pairs that are alike; of those that are joined already, nothing is asked."""
        apart = self._numbers[one] != self._numbers[other]
        one, other = one[apart], other[apart]
        close = alike(one, other)
        self._waiting.append(np.stack([one[close], other[close]]))
        if sum(pairs.shape[1] for pairs in self._waiting) > len(self._numbers):
            self.numbers()

    def numbers(self) -> Integers:
        """`[N]`, equal for those that are joined."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count = len(self._numbers)
        one, other = np.concatenate([np.empty((2, 0), np.int64), *self._waiting], axis=1)
        edges = np.concatenate([one, np.arange(count)]), np.concatenate([other, self._numbers])
        graph = coo_array((np.ones(len(edges[0]), np.uint8), edges), shape=(count, count))
        found = connected_components(graph, directed=False)[1]
        _, first = np.unique(found, return_index=True)
        self._numbers, self._waiting = first[found], []
        return self._numbers


def _groups(members: Integers, numbers: NDArray[Any]) -> list[Integers]:
    """Those of `members` that share a number, where there are several."""
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    found = (np.sort(members[part]) for part in np.split(order, cuts) if len(part) > 1)
    return sorted(found, key=lambda group: int(group[0]))


@cache
def _punctuation() -> dict[int, str]:
    """Each character of Unicode's punctuation, to a space. (Symbols stay: 2+2 is not 22.)"""
    return dict.fromkeys(_of_category(range(sys.maxunicode + 1), "P"), " ")


def _of_category(codes: Iterable[int], category: str) -> Iterable[int]:
    return (code for code in codes if unicodedata.category(chr(code)).startswith(category))
