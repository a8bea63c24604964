"""What the tags of a TIFF say that Pillow passes over."""

from __future__ import annotations

import contextlib
import ctypes.util
import io
from pathlib import Path
from typing import Any

import PIL
from PIL import TiffImagePlugin
from PIL.TiffTags import TAGS_V2, TAGS_V2_GROUPS

from zoo.data.decoding.values import Values
from zoo.upstream import read_by_libtiff

_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _SUB_IFDS = 254, 258, 259, 262, 277, 284, 330
_EXTRA, _SAMPLE_FORMAT, _DNG = 338, 339, 50706
_CANON = b"CR"
"""Behind the header of Canon's raw files, which are TIFF otherwise."""
_WHITE_IS_ZERO, _SIGNED, _SEPARATE = 0, 2, 2
_NUMBERS = {
    1: "whole numbers",
    2: "signed whole numbers",
    3: "floating-point numbers",
    5: "complex whole numbers",
    6: "complex numbers",
}
_COMPRESSIONS = {
    34661: "JBIG", 34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 50002: "JPEG XL",
    52546: "JPEG XL", 22610: "JPEG XR", 34934: "JPEG XR",
}  # fmt: skip
"""Numbers of the tag Compression (the register of TIFF tags that libtiff and Adobe keep) that Pillow's build of libtiff lacks."""


def values(image: TiffImagePlugin.TiffImageFile, content: bytes) -> Values:
    """How the values of an opened TIFF are to be taken. Raises: ValueError for what would be read as something else."""
    tags = image.tag_v2
    bits, samples = _numbers(tags, _BITS, 1), _numbers(tags, _SAMPLE_FORMAT, 1)
    if content[8:10] == _CANON or (tags.get(_SUBFILE, 0) & 1 and (_SUB_IFDS in tags or _DNG in tags)):
        raise ValueError("a camera raw file, whose first image is a small preview; develop it to JPEG or TIFF")
    if tags.get(_PLANES) == _SEPARATE and image.mode in ("LA", "La", "PA"):  # Pillow leaves the second plane empty
        raise ValueError("a TIFF with its transparency in a plane of its own; save it with interleaved channels")
    if tags.get(_PLANES) == _SEPARATE and max(bits) == 16 and tags.get(_COMPRESSION, 1) == 1:
        read_by_libtiff(image)
    exif = image.getexif()  # kept for when the image is turned as it is loaded
    for group in TAGS_V2_GROUPS.keys() & exif.keys():
        exif.get_ifd(group)
    integers = image.mode.startswith("I")
    return Values(
        inverted=integers and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
        signed=image.mode == "L" and samples[0] == _SIGNED,
        bits=12 if bits == (12,) else None,
        sixteen=bits[0] <= 16,
        upper=not integers and max(bits) == 16,
        bands=0 in _numbers(tags, _EXTRA, 1) if _EXTRA in tags else False,
    )


def _numbers(tags: Any, tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def hush() -> None:
    """Let libtiff print nothing: its lines on stderr name no file, and what matters of them comes as an error too."""
    libraries = [*Path(PIL.__file__).parent.with_name("pillow.libs").glob("libtiff*"), ctypes.util.find_library("tiff")]
    for library in filter(None, libraries):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(str(library))
            loaded.TIFFSetErrorHandler(None)
            loaded.TIFFSetWarningHandler(None)


def described(content: bytes) -> str:
    """What a TIFF holds that Pillow does not read."""
    large = b"\x2b" in content[2:4]  # BigTIFF
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if large else 8])
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        bits, kind = max(_numbers(tags, _BITS, 1)), _numbers(tags, _SAMPLE_FORMAT, 1)[0]
        number, photometric, bands = tags.get(_COMPRESSION, 1), tags.get(_PHOTOMETRIC, 0), tags.get(_SAMPLES, 1)
    except Exception:  # of a damaged file, whatever Pillow raises
        return "a TIFF of an unknown kind"
    if number not in TiffImagePlugin.COMPRESSION_INFO:
        return f"a TIFF compressed by {_COMPRESSIONS.get(number, f'method {number}')}"
    names = {number: name for name, number in TAGS_V2[_PHOTOMETRIC].enum.items()}
    meaning = names.get(photometric, f"photometric interpretation {photometric}")
    return f"a TIFF of {bands} band{'s' * (bands > 1)} of {bits}-bit {_NUMBERS.get(kind, 'values')}, {meaning}"
