"""What the bytes of some image formats say that Pillow passes over or takes for something else: corrected, or refused by name.

Formats with checksums or end marks need no help where a copy was broken off, which may leave a file of full size with zeros at its end.
WebP and AVIF have neither, and their decoders make an image of zeros too (`check_written`). In uncompressed formats (BMP, TIFF) zeros are
black, so there it cannot be known.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL
from PIL import Image, TiffImagePlugin
from PIL.TiffTags import TAGS_V2, TAGS_V2_GROUPS

from zoo.data.decoding.pixel_values import Values
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
_MERGED = 1057
"""Number of Photoshop's image resource "Version Info", whose fifth byte says whether the merged image is there (Adobe Photoshop File
Formats Specification, "Image Resource IDs")."""
_CARD, _BLOCK = 80, 2880
"""Bytes of a line of a FITS header, and of what a header is a multiple of (FITS Standard 4.0, section 3)."""
_PLAIN = Values()
_OF = {"XBM": Values(inverted=True), "PPM": Values(sixteen=True)}
_LEAST = 1024
"""Zero bytes at the end of a chunk of image data, and a quarter of it: what no entropy coder writes."""


def _tiff_values(image: TiffImagePlugin.TiffImageFile, content: bytes) -> Values:
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


def hush_libtiff() -> None:
    """Let libtiff print nothing: its lines on stderr name no file, and what matters of them comes as an error too."""
    libraries = [*Path(PIL.__file__).parent.with_name("pillow.libs").glob("libtiff*"), ctypes.util.find_library("tiff")]
    for library in filter(None, libraries):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(str(library))
            loaded.TIFFSetErrorHandler(None)
            loaded.TIFFSetWarningHandler(None)


def described_tiff(content: bytes) -> str:
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


def values_of(image: Image.Image, content: bytes) -> Values:
    """How the values of an opened file (not yet loaded) are to be taken; where Pillow would decode other bytes, that is set right.

    Raises: ValueError for what cannot be read right.
    """
    if image.format == "TIFF":
        return _tiff_values(image, content)  # type: ignore[arg-type]
    if image.format == "PNG":
        return _png(image, content)
    if image.format == "FITS":
        return _fits(content)
    if image.format == "PSD":
        return _psd(image)
    if image.format == "XPM" and any(len(colour) != 6 for colour in re.findall(rb"\sc\s+#([0-9A-Fa-f]+)", content)):
        raise ValueError("an XPM image whose colours have other than 6 hexadecimal digits; save it as PNG")
    return _OF.get(image.format or "", _PLAIN)


def _png(image: Image.Image, content: bytes) -> Values:
    """The transparent colour is a number of as many bits as the file's values (PNG 3rd edition, 11.3.1.1), and Pillow's
    pixels have 8."""
    bits, transparent = content[24], image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // ((1 << bits) - 1)
    if image.mode == "RGB" and bits == 16 and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(one >> 8 for one in transparent)
    return _PLAIN if bits != 16 else Values(sixteen=True, upper=not image.mode.startswith("I"))


def _psd(image: Any) -> Values:
    merged = next((data for number, _, data in image.resources if number == _MERGED), b"")
    if merged[4:5] == b"\0":
        raise ValueError("a Photoshop file without its merged image; save it with 'Maximize Compatibility', or as PNG")
    file = image.fp
    file.seek(12)
    stored = int.from_bytes(file.read(2), "big")
    used = len(image.tile)
    if stored > used and image.tile and image.tile[0].codec_name == "packbits":
        # Before the rows stand the lengths of those of all channels, and Pillow skips those of the channels that it uses.
        skipped = 2 * image.height * (stored - used)
        image.tile = [tile._replace(offset=tile.offset + skipped) for tile in image.tile]
    return Values(inverted=image.mode == "1", bands=stored > len(image.getbands()))


def _fits(content: bytes) -> Values:
    """Values are stored signed (but for 8 bits), and `BSCALE * stored + BZERO` is meant (FITS Standard 4.0, section 4.4.2.5)."""
    cards = _fits_cards(content)
    zero, scale = float(cards.get("BZERO", 0)), float(cards.get("BSCALE", 1))
    if scale != 1 or zero != int(zero):
        raise ValueError("FITS values that are scaled (BSCALE, BZERO) have no known range; save it with 8 or 16 bits a channel")
    axes = [int(cards.get(f"NAXIS{number}", 1)) for number in range(3, int(cards["NAXIS"]) + 1)]
    bits = int(cards["BITPIX"])
    return Values(signed=bits == 16, offset=int(zero), sixteen=bits == 16, planes=math.prod(axes) > 1)


def _fits_cards(content: bytes) -> dict[str, str]:
    """Keywords and values of the first header behind which there are data; of a compressed image, those that it had before."""
    cards: dict[str, str] = {}
    place = 0
    while place < len(content):
        card = content[place : place + _CARD].decode("latin-1")
        place += _CARD
        keyword = card[:8].strip()
        if keyword == "END" and cards.get("NAXIS") != "0":
            break
        if keyword == "END":
            cards, place = {}, -(-place // _BLOCK) * _BLOCK
        elif card[8:10] == "= ":
            cards[keyword] = card[10:].split("/")[0].strip()
    return cards | {name[1:]: value for name, value in cards.items() if name.startswith(("ZBITPIX", "ZNAXIS"))}


def check_written(content: bytes, form: str) -> None:
    """Raises: ValueError for a file of this format whose image data end in zeros."""
    if form not in ("WEBP", "AVIF", "HEIF"):
        return
    parts = _riff(content) if form == "WEBP" else _boxes(content)
    for name, start, stop in parts:
        zeros = 0
        if name in (b"VP8 ", b"VP8L", b"ANMF", b"mdat"):
            written = len(content[start:stop].rstrip(b"\0"))
            zeros = stop - start - written
        if name == b"\0\0\0\0" or zeros >= max(_LEAST, (stop - start) // 4):
            raise ValueError("cut off: its end is zeros alone, as of a file that was not written whole; copy it again")


def _riff(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk (RFC 9649, section 2.3)."""
    place, end = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while place + 8 <= end:
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        yield content[place : place + 4], place + 8, min(place + 8 + size, end)
        place += 8 + size + size % 2


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each box of the file (ISO/IEC 14496-12, section 4.2)."""
    place = 0
    while place + 8 <= len(content):
        size, header = int.from_bytes(content[place : place + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(content[place + 8 : place + 16], "big"), 16
        stop = len(content) if size == 0 else place + size
        if content[place : place + 8] == bytes(8):
            return  # padding
        yield content[place + 4 : place + 8], place + header, min(stop, len(content))
        place = max(stop, place + 8)
