"""MP3 as a sequence of frames and Ogg as a sequence of pages: what is there of an audio clip, and what libsndfile would lose.

libsndfile reads an MP3 to the length in the header of its first frame, or, where there is none, to an estimate from that frame's bit
rate: it loses what is beyond. Here the frames are counted, and each audio clip is given the length that it has. Of an Ogg file it takes
what is there of a stream for all of it, passes over damaged pages, and of streams that follow one another reads the first alone.

Fields and tables of MP3: ISO/IEC 11172-3, section 2.4.1, and 13818-3, section 2.4.2 (of MPEG 2; 2.5 is Fraunhofer's). The frame of the
length, `Xing`, LAME's `Info` or Fraunhofer's `VBRI`: gabriel.mp3-tech.org/mp3infotag.html. Pages of Ogg: RFC 3533, section 6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

_KILOBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of layer III by their index, of MPEG 1 and of the others; 0 is one that the header does not say, 15 is forbidden."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Samples a second by their index, of MPEG 1, 2 and 2.5 as the header numbers them."""
_JUNK = 1 << 16
"""Bytes before the first frame, tags not counted, after which a file is not taken for an MP3."""
_SURE = 3
"""Frames in a row that make a file an MP3."""
_SLACK = 0.01
"""Share of the frames that a header may count too many or too few: some encoders count their own frame, or not the last."""
_ROOMY = 9
"""Index of a bit rate at which a frame holds every header of a length: 80 or 128 kbit/s."""
MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
"""Magic, version, flags, position, number of the stream, number of the page, checksum, how many segments."""
_FIRST, _LAST = 2, 4
"""Flags of a stream's first and last page."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order."""


@dataclass(frozen=True)
class _Header:
    version: int
    rate: int
    mono: bool
    size: int
    """Bytes of the frame."""

    @property
    def first(self) -> bool:
        """Whether it is of MPEG 1."""
        return self.version == 3

    @property
    def side(self) -> int:
        """Bytes between the header and what a frame without sound holds."""
        return (17 if self.mono else 32) if self.first else (9 if self.mono else 17)

    def follows(self, other: _Header) -> bool:
        """Whether both can be frames of one audio clip."""
        return (self.version, self.rate) == (other.version, other.rate)


@dataclass
class _Clip:
    """What stands between two headers of a length."""

    header: _Header
    counted: int = 0
    """Frames by its header of the length; 0 where there is none."""
    told: bytes = b""
    """The frame with that header, where libsndfile understands it."""
    frames: list[bytes] = field(default_factory=list)

    def content(self) -> bytes:
        """A file of this audio clip alone, whose header says how many frames it has. Raises: ValueError if some are missing."""
        there = len(self.frames)
        if there < (1 - _SLACK) * self.counted:
            raise ValueError(f"cut off: {there:,} of {self.counted:,} frames are there")
        right = self.told and there <= max((1 + _SLACK) * self.counted, self.counted + 1)
        return b"".join([self.told if right else _telling(self.frames[0], there), *self.frames])


def clips(content: bytes) -> tuple[list[bytes], bool]:
    """The audio clips in an MP3, one after another, each as a file that libsndfile reads to its end; none if it is not an MP3.

    Tags, and whatever else is not a frame, are left out. And whether the last ends inside a frame without having said how many it has: as
    one does that was cut off, or taken from a stream.

    Raises: ValueError if an audio clip has fewer frames than its header counts.
    """
    found: list[_Clip] = []
    broken = False
    for frame, header in _frames(content):
        if len(frame) < header.size:
            broken = bool(found) and not found[-1].counted
            break
        counted = _counted(frame, header)
        own = found[-1] if found else None
        if counted is not None:
            told = frame if counted and frame[4 + header.side :][:4] in (b"Xing", b"Info") else b""
            found.append(_Clip(header, counted, told))
        else:
            if own is None or not header.follows(own.header) or (own.frames and header.mono != own.header.mono):
                found.append(own := _Clip(header))
            own.frames.append(frame)
    return [one.content() for one in found if one.frames or one.counted], broken


def _frames(content: bytes) -> Iterator[tuple[bytes, _Header]]:
    """Every frame; of one that ends with the file and follows another, what is there."""
    at = _skip_tags(content, 0)
    first = _next(content, at, at + _JUNK, _SURE)
    if first is None:
        return
    at, last = first, _header(content, first)
    while at < len(content):
        header = _header(content, at)
        if header is None or last is None or not header.follows(last):
            found = _next(content, _skip_tags(content, at), len(content), 2)
            if found is None:
                return
            at, header = found, _header(content, found)
            assert header is not None
            if at + header.size > len(content):  # behind what is not a frame, so it may be none either
                return
        yield content[at : at + header.size], header
        at, last = at + header.size, header


def _next(content: bytes, start: int, stop: int, sure: int) -> int | None:
    """Where the next frame begins, after which as many as make it sure follow (or the file ends)."""
    at = start
    while (at := content.find(b"\xff", at, stop)) >= 0:
        place, first = at, _header(content, at)
        for _ in range(sure):
            header = _header(content, place)
            if header is None or first is None or not header.follows(first):
                break
            place += header.size
            if place >= len(content):
                return at
        else:
            return at
        at += 1
    return None


def _header(content: bytes, at: int) -> _Header | None:
    four = content[at : at + 4]
    if len(four) < 4 or four[0] != 0xFF or four[1] & 0xE6 != 0xE2:  # eleven bits of synchronisation, layer III
        return None
    version, bits, rate = four[1] >> 3 & 3, four[2] >> 4, four[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    frequency = _RATES[version][rate]
    size = (144 if version == 3 else 72) * 1000 * _KILOBITS[version == 3][bits] // frequency + (four[2] >> 1 & 1)
    return _Header(version, frequency, four[3] >> 6 == 3, size)


def _counted(frame: bytes, header: _Header) -> int | None:
    """The frames that follow, by a frame that says so instead of sounding (0 if it leaves that out); None of any other frame."""
    place = 4 + header.side
    if frame[place : place + 4] in (b"Xing", b"Info"):
        flags = frame[place + 7 : place + 8]
        return int.from_bytes(frame[place + 8 : place + 12]) if flags and flags[0] & 1 else 0
    return int.from_bytes(frame[50:54]) if frame[36:40] == b"VBRI" else None


def _telling(frame: bytes, count: int) -> bytes:
    """A frame to stand before so many that are like `frame`, which says how many they are."""
    four = bytes([0xFF, frame[1] | 1, _ROOMY << 4 | frame[2] & 0x0C, frame[3]])
    header = _header(four, 0)
    assert header is not None
    return (four + bytes(header.side) + struct.pack(">4sII", b"Info", 1, count)).ljust(header.size, b"\0")


def _skip_tags(content: bytes, at: int) -> int:
    """Where the tags of ID3 that stand here end (id3.org, ID3v2.4.0, section 3.1): images in them may look like frames."""
    while content[at : at + 3] == b"ID3" and len(content) >= at + 10:
        size = 0
        for seven in content[at + 6 : at + 10]:
            size = size << 7 | seven & 0x7F
        at += 10 + size + (10 if content[at + 5] & 0x10 else 0)
    return at


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
