"""Files of sound, decoded from their beginning to their end, a block at a time, by libsndfile (soundfile)."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.decoding import mp3_frames, ogg_pages
from zoo.errors import ConfigError

RATES = (1_000, 768_000)
"""Samples a second: less than telephones or more than any studio is a damaged header."""

_BLOCK = 1 << 16
"""Samples of each channel that are decoded at once."""
_OPEN = 1 << 62
"""What libsndfile gives as the length of an audio clip whose header leaves it open is more."""
_CUT = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile writes where a WAV, AIFF, AU, W64 or RF64 file says that it holds more, or less, than it does."""
_ENDLESS = 0x7FFF0000
"""A WAV file that was written into a pipe says that it holds at least so many bytes, not knowing how many."""
_MP3_IN_WAV = 0x55
"""The format of the samples of such a WAV file (RFC 2361, appendix A)."""
_FLAC = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""How a FLAC file begins (RFC 9639, section 8.1): with or without more metadata after the first."""


@dataclass(frozen=True)
class Clips:
    """What is in a file."""

    files: list[IO[bytes]]
    """Of nearly all files, the file itself; else audio clips that follow one another."""
    broken: bool = False
    """Whether it ends in the middle of what it does not say the length of."""

    @classmethod
    def mp3(cls, content: bytes, file: IO[bytes]) -> Clips:
        """Those of an MP3; the file itself if it is none. Raises: ValueError."""
        found, broken = mp3_frames.clips(content)
        return cls([io.BytesIO(one) for one in found] or [file], broken)


def clips(file: IO[bytes]) -> Clips:
    """The audio clips in a file.

    Raises: ValueError for what is cut off or damaged, as far as libsndfile would not tell.
    """
    head = file.read(4096)
    file.seek(0)
    if head.startswith(ogg_pages.MAGIC):
        return Clips([io.BytesIO(stream) for stream in ogg_pages.streams(file.read())])
    if head.startswith(b"RIFF") and (data := _data_of(head, file, _MP3_IN_WAV)):
        return Clips.mp3(data, file)
    if head.startswith((b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff", b"riff")):
        return Clips([file])
    content = file.read()
    file.seek(0)
    if sum(map(content.count, _FLAC)) > 1:
        raise ValueError("several FLAC files in one, of which the first alone would be read; split it")
    if head.startswith(b"fLaC"):
        return Clips([file])
    return Clips.mp3(content, file)


def _data_of(head: bytes, file: IO[bytes], wanted: int) -> bytes:
    """The data of a WAV file whose samples are in this format; else nothing."""
    at, found = 12, 0
    while len(chunk := head[at : at + 8]) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"fmt ":
            found = int.from_bytes(head[at + 8 : at + 10], "little")
        if name == b"data":
            break
        at += 8 + size + size % 2
    if found != wanted or len(chunk) < 8:
        return b""
    file.seek(at + 8)
    data = file.read(size)
    file.seek(0)
    return data


class Decoder:
    """One audio clip, from its beginning."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises: ValueError for what is empty, cut off, or at no possible rate; soundfile's error for no audio clip; ConfigError."""
        file.seek(0)
        self._file = _sequential()(file)
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        if not RATES[0] <= self.rate <= RATES[1]:
            raise ValueError(f"{self.rate:,} samples a second; expected {RATES[0]:,} to {RATES[1]:,}")
        cut = _CUT.search(self._file.extra_info)
        if cut and int(cut[2]) < int(cut[1]) < _ENDLESS:
            raise ValueError(f"cut off: {int(cut[2]):,} of {int(cut[1]):,} bytes are there")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All samples, `[n, channels]`, full scale from -1 to 1. Raises: ValueError for fewer than the header says, or no numbers."""
        length, frames = 0, self._file.frames
        with self._file:
            while len(block := self._file.read(min(_BLOCK, frames - length), dtype="float32", always_2d=True)):
                if not np.isfinite(block).all():
                    raise ValueError("samples that are NaN or infinite")
                length += len(block)
                yield block
        # An MP3 file may count some frames more than it holds: mp3_frames tells which are cut off.
        if length < frames < _OPEN and not (self._file.subtype == "MPEG_LAYER_III" and length > 0.99 * frames):
            raise ValueError(f"cut off: {length:,} of {frames:,} samples are there")


def _sequential() -> Any:
    """soundfile's class, told not to seek: it would after each block, which GSM 6.10 and some more cannot, and MP3 not exactly."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without the library that it wraps
        raise ConfigError(
            "audio clips are read by soundfile, which is not installed: pip install 'zoo-finetune[audio]'"
        ) from error

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Sequential
