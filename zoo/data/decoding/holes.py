"""Compressed images whose second part was never written: a copy that was broken off may leave a file of full size with zeros at its end.

Formats with checksums or end marks need no help. WebP and AVIF have neither, and their decoders make an image of zeros too.
In uncompressed formats (BMP, TIFF) zeros are black, so there it cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterator

_LEAST = 1024
"""Zero bytes at the end of a chunk of image data, and a quarter of it: what no entropy coder writes."""


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
