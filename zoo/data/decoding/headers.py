"""What the headers of some formats say that Pillow passes over or takes for something else: corrected, or refused by name."""

from __future__ import annotations

import math
import re
from typing import Any

from PIL import Image

from zoo.data.decoding import tiff
from zoo.data.decoding.values import Values

_MERGED = 1057
"""Number of Photoshop's image resource "Version Info", whose fifth byte says whether the merged image is there (Adobe Photoshop File
Formats Specification, "Image Resource IDs")."""
_CARD, _BLOCK = 80, 2880
"""Bytes of a line of a FITS header, and of what a header is a multiple of (FITS Standard 4.0, section 3)."""
_PLAIN = Values()
_OF = {"XBM": Values(inverted=True), "PPM": Values(sixteen=True)}


def values_of(image: Image.Image, content: bytes) -> Values:
    """How the values of an opened file (not yet loaded) are to be taken; where Pillow would decode other bytes, that is set right.

    Raises: ValueError for what cannot be read right.
    """
    if image.format == "TIFF":
        return tiff.values(image, content)  # type: ignore[arg-type]
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
