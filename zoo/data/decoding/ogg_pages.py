"""Ogg as a sequence of pages (RFC 3533, section 6): whether all of them are there, and where one stream ends and the next begins.

libsndfile takes what is there of a stream for all of it, passes over damaged pages, and of streams that follow one another reads the
first alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
"""Magic, version, flags, position, number of the stream, number of the page, checksum, how many segments."""
_FIRST, _LAST = 2, 4
"""Flags of a stream's first and last page."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order."""


@dataclass(frozen=True)
class _Page:
    start: int
    end: int
    flags: int
    stream: int
    number: int


def streams(content: bytes) -> list[bytes]:
    """The streams that follow one another in an Ogg file, each (with those that it is multiplexed with) as a file of its own.

    Raises: ValueError for pages that are damaged or missing, and for a stream without its last page.
    """
    starts: list[int] = []
    pages: dict[int, _Page] = {}
    beginning = False
    for page in _pages(content):
        if page.flags & _FIRST and not beginning:
            _check_ends(pages)
            starts.append(page.start)
            pages = {}
        beginning = bool(page.flags & _FIRST)
        before = pages.get(page.stream)
        if before is not None and page.number != before.number + 1:
            raise ValueError(f"damaged: page {before.number + 1} of its stream is missing")
        pages[page.stream] = page
    _check_ends(pages)
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def _pages(content: bytes) -> Iterator[_Page]:
    at = 0
    while content[at : at + 4] == MAGIC:
        if len(content) < at + _HEADER.size:
            raise ValueError("cut off in the midst of a page")
        _, _, flags, _, stream, number, checksum, segments = _HEADER.unpack_from(content, at)
        table = content[at + _HEADER.size : at + _HEADER.size + segments]
        end = at + _HEADER.size + segments + sum(table)
        if len(content) < end:
            raise ValueError("cut off in the midst of a page")
        if _checksum(content[at : at + 22] + bytes(4) + content[at + 26 : end]) != checksum:
            raise ValueError(f"damaged: page {number} of its stream does not have its checksum")
        yield _Page(at, end, flags, stream, number)
        at = end
    if content.find(MAGIC, at) >= 0:
        raise ValueError("damaged between two pages")


def _check_ends(pages: dict[int, _Page]) -> None:
    if not all(page.flags & _LAST for page in pages.values()):
        raise ValueError("cut off: the last page of its stream is missing")


def _checksum(page: bytes) -> int:
    """Ogg's: zlib's polynomial with the bits of each byte in the other order, from 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
