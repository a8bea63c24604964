"""From decoded values to 8-bit RGB, and how many bits of a 16-bit number a set of images uses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that sensors and file formats have."""
FULL = 16
"""Bits that whole numbers of 16 bits are taken to use where nothing else is known."""


@dataclass(frozen=True)
class Values:
    """What has to be known beside a decoded image's mode to take its values for what they are. The default: as Pillow gives them."""

    inverted: bool = False
    """The largest value is black."""
    signed: bool = False
    """Pillow took numbers in two's complement for unsigned ones."""
    offset: int = 0
    """To be added to every value."""
    bits: int | None = None
    """Of whole numbers: how many bits hold a value, where the file says that itself and it is neither 8 nor 16."""
    sixteen: bool = False
    """Of whole numbers in a wider type (mode I): whether the file has 16 bits a value."""
    upper: bool = False
    """Pillow gives the upper 8 of 16 bits."""
    bands: bool = False
    """There are bands beyond red, green, blue and transparency, which are left out."""
    planes: bool = False
    """There are planes behind the first, which alone is used."""


def depth_of(bits: int) -> int:
    """The least of `DEPTHS` that is no less than so many bits, of 1 to 16."""
    return next(depth for depth in DEPTHS if bits <= depth)


def bits_used(image: Image.Image, values: Values) -> int:
    """Bits that the largest value of an image with 16 bits a channel takes, 1 to 16; 0 for every other image.

    Raises: ValueError for values outside of 0..65535.
    """
    if values.upper:
        ends = np.reshape(image.convert("RGB").getextrema(), (-1, 2))
        return 8 + int(ends.max()).bit_length()
    if not image.mode.startswith("I") or values.bits:
        return 0
    return max(1, int(_integers(image, values).max(initial=0)).bit_length())


def to_rgb(image: Image.Image, values: Values, bit_depth: int | None = None) -> Image.Image:
    """8-bit RGB, by rules of our own where Pillow's conversion loses the image.

    bit_depth: how many bits of 16 the whole numbers use, 1 to 16. None: 16, and those of a wider type have no known range.

    Raises: ValueError.
    """
    if image.mode == "F":
        raise ValueError("floating-point values (mode F) have no known range; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        rgb = _from_integers(image, values, bit_depth)
    else:
        if values.signed or values.offset:
            image = Image.fromarray(_integers(image, values).astype(np.uint8))
        rgb = _over_white(image) if image.has_transparency_data else image if image.mode == "RGB" else image.convert("RGB")
    return ImageOps.invert(rgb) if values.inverted else rgb


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # multiplied by transparency: Pillow takes them to nothing else
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    upper = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")


def _integers(image: Image.Image, values: Values) -> NDArray[np.int32] | NDArray[np.uint16]:
    """The values as they were meant. Raises: ValueError for some outside of 0..65535 (of 8-bit images, 0..255)."""
    found = np.asarray(image)
    plain = found.dtype.itemsize == 2 and not values.signed and not values.offset
    if plain:
        return found
    if values.signed:
        found = found.view(found.dtype.str.replace("u", "i"))
    wide = found.astype(np.int64) + values.offset
    low, high = int(wide.min(initial=0)), int(wide.max(initial=0))
    if low < 0 or high > (255 if image.mode == "L" else 65535):
        raise ValueError(f"values from {low:,} to {high:,}, of which the range is not known; save it with 8 or 16 bits a channel")
    return wide.astype(np.int32)


def _from_integers(image: Image.Image, values: Values, bit_depth: int | None) -> Image.Image:
    found = _integers(image, values)
    if bit_depth is None and image.mode == "I" and not values.sixteen:
        raise ValueError("whole numbers of 32 bits, of which the range is not known; save it with 8 or 16 bits a channel")
    depth = values.bits or bit_depth or FULL
    highest = int(found.max(initial=0))
    if highest >= 1 << depth:
        raise ValueError(f"{too_bright(highest, depth)}; bring it to the range of the others")
    grey = Image.fromarray(_scale(depth)[found])
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8)))
        return _over_white(grey)
    return grey.convert("RGB")


def too_bright(highest: int, depth: int) -> str:
    """What is said of a value that does not fit."""
    return f"values up to {highest:,}, and images of this data set have {depth} bits (at most {(1 << depth) - 1:,})"


@cache
def _scale(depth: int) -> NDArray[np.uint8]:
    """`[2 ** depth]`: 0..255 for each value, rounded."""
    most = (1 << depth) - 1
    return ((np.arange(most + 1, dtype=np.uint32) * 255 + most // 2) // most).astype(np.uint8)
