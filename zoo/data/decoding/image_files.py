"""Any image file as an upright RGB image, or one line that says why not. Decoded by Pillow alone.

torchvision's decoder ends the process on a damaged PNG; and Pillow's `LOAD_TRUNCATED_IMAGES`, which turns half an image grey
without a word, is never set. What Pillow reads as something else is set right or refused in `zoo.data.decoding`.
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
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.data.decoding.formats import formats, read_file, suffixes, why_not
from zoo.data.decoding.headers import check_written, values_of
from zoo.data.decoding.pixel_values import Values, bits_used, to_rgb
from zoo.errors import DataError

__all__ = ["Checked", "check_file", "count_bits", "formats", "open_image", "suffixes"]

Source = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image

MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded; 256 MiB in RGB. The number at which Pillow warns of a decompression bomb."""
MAX_BYTES = 1 << 30
"""Bytes of the largest file that is read: one image of so many pixels takes less, whatever its format."""
_LARGE = 1 << 26
"""Bytes from which the header is looked at before the file is read."""

_NOTHING = contextlib.nullcontext()


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
    """What is known of an image file once it has been read and decoded as a whole."""

    sha256: str
    """Digest of the file's bytes."""
    width: int
    height: int
    animated: bool
    """Whether it has more frames or planes than the first, which alone is used."""
    bits: int
    """Bits that the largest value takes, of images with 16 bits a channel; 0 for all others."""
    upper: bool
    """Whether of 16 bits a channel only the upper 8 are used, as in colour."""
    bands: bool
    """Whether it has bands beyond red, green, blue and transparency, which are left out."""


class _Decoded(NamedTuple):
    """An upright image with the values of its file."""

    image: Image.Image
    values: Values
    several: bool
    """Whether it has more frames than the first."""


def open_image(
    source: Source,
    name: str | None = None,
    at_least: int | None = None,
    sha256: str = "",
    bit_depth: int | None = None,
) -> Image.Image:
    """An image as 8-bit RGB, upright.

    The orientation that EXIF says is applied, that of XMP is not; transparency is laid over white; grey of 16 bits is scaled by
    255 / (2 ** bit_depth - 1) and rounded (Pillow's own conversion saturates); palette, CMYK and 1-bit images are converted; an animation
    gives its first frame.

    Args:
        source: a path, the bytes of a file, a binary stream, or a PIL image (which is left as it is).
        name: what errors call it; by default the path.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size whose sides are no shorter than so many pixels.
        sha256: what a path's file must have; empty: any.
        bit_depth: how many bits grey values of 16 bits use in the whole set of images, 1 to 16. None: all 16.

    Raises: DataError, which names the file and the reason.
    """
    with _naming(name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "image")):
        decoded = _decoded(source, at_least, sha256)
        return to_rgb(decoded.image, decoded.values, bit_depth)


def count_bits(source: Source, name: str) -> int:
    """Bits that the largest value of an image takes, if it is grey of 16 bits; else 0. Raises: DataError."""
    with _naming(name):
        decoded = _decoded(source)
        return 0 if decoded.values.upper else bits_used(decoded.image, decoded.values)


def check_file(path: Path, name: str | None = None) -> Checked:
    """Read and decode a file once, as training will: what passes here can be opened, in a set that has its bit depth.

    Raises: DataError, naming it.
    """
    with _naming(name or str(path)):
        content = read_file(path, look=_look)
        decoded = _decode(content)
        image, values = decoded.image, decoded.values
        bits = bits_used(image, values)
        if not bits or values.upper:
            to_rgb(image, values)
        several = decoded.several or values.planes
        return Checked(hashlib.sha256(content).hexdigest(), *image.size, several, bits, values.upper, values.bands)


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
    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return f"more than {MAX_PIXELS // 1_000_000} million pixels (a decompression bomb?); scale it down"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = (str(error) or type(error).__name__).splitlines()[0]
    if "MAX_TEXT_CHUNK" in said or "text chunks" in said:
        return "more than 1 MB of text stands in this PNG beside its image; save it without metadata"
    if said.startswith(("decoder error", "unknown raw mode")):
        return f"damaged, or compressed in a way that cannot be read ({said})"
    if not isinstance(error, (ValueError, OSError, SyntaxError)):
        return f"damaged, or of a kind that cannot be read ({type(error).__name__}: {said})"
    return said


def _look(file: IO[bytes], size: int) -> None:
    """Before a file is read: is it too large, or no image at all? Raises: ValueError, or whatever its header makes Pillow raise."""
    if size > MAX_BYTES:
        raise ValueError(
            f"{size / 1e9:.1f} GB, and an image of {MAX_PIXELS // 1_000_000} million pixels takes less; save it smaller"
        )
    if size > _LARGE:
        start = file.read(_LARGE >> 10)
        file.seek(0)
        _open(file, start)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings name no file, and what matters of them is an error. (They come from headers; decoding, which takes longer, gives
    none.)"""
    with _Locks.warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decoded(source: Source, at_least: int | None = None, sha256: str = "") -> _Decoded:
    if isinstance(source, Image.Image):
        before = source.info
        source.info = before.copy()
        try:
            _forget_xmp(source)
            return _Decoded(ImageOps.exif_transpose(source), Values(), False)
        finally:
            source.info = before
    if isinstance(source, (str, os.PathLike)):
        source = read_file(Path(source), sha256, _look)
    return _decode(source if isinstance(source, bytes) else source.read(), at_least)


def _open(file: IO[bytes], start: bytes) -> Image.Image:
    """What the header says; nothing is decoded. start: the beginning of the file, or all of it."""
    try:
        with _quiet():
            image = Image.open(file, formats=formats())
    except (UnidentifiedImageError, KeyError):
        with _quiet():
            raise ValueError(why_not(start)) from None
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _decode(content: bytes, at_least: int | None = None) -> _Decoded:
    with _open(io.BytesIO(content), content) as image:
        check_written(content, image.format or "")
        _forget_xmp(image)
        # The tags of a TIFF are read as they are asked for.
        with _quiet() if image.format == "TIFF" else _NOTHING:
            values = values_of(image, content)
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # does something for JPEG alone
        image.load()
        # An MPO file of a phone is a photo with a preview or a depth map behind it, and a PSD has its layers merged: no animations.
        with _quiet() if image.format == "TIFF" else _NOTHING:
            several = image.format not in ("MPO", "PSD") and getattr(image, "is_animated", False)
        _forget_xmp(image)  # a PNG has it behind its pixels
        if "exif" in image.info:
            with _quiet():
                image.getexif()  # kept, for what turns the image
        ImageOps.exif_transpose(image, in_place=True)
        return _Decoded(image, values, several)


def _forget_xmp(image: Image.Image) -> None:
    """Only EXIF says how an image is turned. Pillow would follow XMP too, which programs leave there when they have turned the pixels, and
    which hardly another reader looks at."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
