"""Any picture file as an upright RGB picture, or one line that says why not. Decoded by Pillow alone.

torchvision's decoder ends the process on a damaged PNG; and Pillow's `LOAD_TRUNCATED_IMAGES`, which turns half a picture grey
without a word, is never set.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.data.files import read_file
from zoo.errors import DataError

Source = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image

MAX_PIXELS = 89_478_485
"""Pixels of the largest picture that is decoded; 256 MiB in RGB. The number at which Pillow warns of a decompression bomb."""

_NOT_DECODED = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "EPS", "WMF"})
"""Formats that Pillow recognises and cannot decode by itself; for EPS and WMF it would run another program on the file."""


class _Locks:
    """Python's warning filters belong to the whole process; whoever changes them for a while holds this lock."""

    warning_filters = threading.Lock()

    @classmethod
    def renew(cls) -> None:
        """A process that was forked while another thread held the lock would wait for ever."""
        cls.warning_filters = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_Locks.renew)


@dataclass(frozen=True)
class Checked:
    """What is known of a picture file once it has been read and decoded as a whole."""

    sha256: str
    """Digest of the file's bytes."""
    width: int
    height: int
    animated: bool
    """Whether it has more frames than the first, which alone is used."""


def open_picture(source: Source, name: str | None = None, at_least: int | None = None, sha256: str = "") -> Image.Image:
    """A picture as 8-bit RGB, upright.

    The EXIF orientation is applied; transparency is laid over white; 16-bit grey is scaled by 1/257 (Pillow's own conversion
    saturates); palette, CMYK and 1-bit pictures are converted; an animation gives its first frame.

    Args:
        source: a path, the bytes of a file, a binary stream, or a PIL picture (which is left as it is).
        name: what errors call it; by default the path.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size whose sides are no shorter than so many pixels.
        sha256: what a path's file must have; empty: any.

    Raises: DataError, which names the file and the reason.
    """
    with _naming(name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "picture")):
        if isinstance(source, Image.Image):
            return _to_rgb(ImageOps.exif_transpose(source))
        if isinstance(source, (str, os.PathLike)):
            source = read_file(Path(source), sha256)
        return _decode(source if isinstance(source, bytes) else source.read(), at_least)[0]


def check_file(path: Path, name: str | None = None) -> Checked:
    """Read and decode a file once, exactly as training will: what passes here can be opened. Raises: DataError, naming it."""
    with _naming(name or str(path)):
        content = read_file(path)
        picture, animated = _decode(content)
        return Checked(hashlib.sha256(content).hexdigest(), *picture.size, animated)


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _NOT_DECODED)


@cache
def suffixes() -> frozenset[str]:
    """Endings of the names of picture files, in lower case, with their dot."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats())


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a DataError that begins with `name`. (Pillow's plug-ins raise a dozen kinds.)"""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that can be read"
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return f"more than {MAX_PIXELS // 1_000_000} million pixels (a decompression bomb?); scale it down"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def _decode(content: bytes, at_least: int | None = None) -> tuple[Image.Image, bool]:
    """The picture, and whether it has further frames."""
    with _Locks.warning_filters, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=formats())  # reads the header alone
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # does something for JPEG alone
        image.load()
        # A phone's MPO file is a photo with a preview or a depth map behind it, not an animation.
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image), several


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, by rules of our own where Pillow's conversion loses the picture."""
    if image.mode == "F":
        raise ValueError("mode F (floating-point values) has no known range; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (or of 8 in a wider type) as RGB: round(value / 257) takes 0..65535 to 0..255."""
    values = np.asarray(image)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > 65535:
        raise ValueError(f"mode {image.mode} with values from {low} to {high}; save it with 8 or 16 bits a channel")
    narrow = image.mode == "I" and high <= 255
    scaled = values if narrow else (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
