"""Any audio file as samples of its waveform, read block by block, or one line that says why not."""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zoo.backbones.audio import AudioClip, Samples, mean_of_channels, standing_in
from zoo.data.decoding import audio_frames
from zoo.data.decoding.formats import opened_file
from zoo.errors import ConfigError, DataError

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
Source = str | os.PathLike[str] | bytes | IO[bytes]
SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave")
)
"""Endings of the names of audio clips, in lower case, with their dot; what libsndfile 1.2 decodes by itself."""
MAX_SAMPLES = 1 << 28
"""Samples of the longest audio clip that is read, its channels taken as one: 1.7 hours at 44.1 kHz, 4.7 at 16 kHz; 1 GiB as float32."""


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
        found, broken = audio_frames.clips(content)
        return cls([io.BytesIO(one) for one in found] or [file], broken)


def clips(file: IO[bytes]) -> Clips:
    """The audio clips in a file.

    Raises: ValueError for what is cut off or damaged, as far as libsndfile would not tell.
    """
    head = file.read(4096)
    file.seek(0)
    if head.startswith(audio_frames.MAGIC):
        return Clips([io.BytesIO(stream) for stream in audio_frames.streams(file.read())])
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


@dataclass(frozen=True)
class CheckedAudio:
    """What is known of an audio file once it has been read and decoded as a whole."""

    sha256: str
    """Digest of the file's bytes."""
    length: int
    """Samples of each channel."""
    rate: int
    """Samples a second."""
    channels: int
    silent: bool
    """Whether every sample is the same."""
    cancels: bool
    """Whether its channels cancel each other when they are averaged, so that the loudest stands for all."""
    broken: bool
    """Whether it ends in the middle of a frame and says nowhere how long it should be (an MP3): some of it may be missing."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / self.rate


def open_audio(source: Source, name: str | None = None, sha256: str = "") -> AudioClip:
    """An audio clip at its own rate, as float32 from -1 to 1: the mean of its channels, or the loudest where they cancel each other.

    Args:
        source: a path, the bytes of a file, or a binary stream.
        name: what errors call it; by default the path.
        sha256: what a path's file must have; empty: any.

    Raises: DataError, which names the file and the reason; ConfigError where soundfile is not installed.
    """
    with _naming(name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "audio clip")):
        if isinstance(source, (str, os.PathLike)):
            with opened_file(Path(source), sha256) as (file, _):
                return _read(file)
        return _read(io.BytesIO(source if isinstance(source, bytes) else source.read()))


def check_audio(path: Path, name: str | None = None) -> CheckedAudio:
    """Read and decode a file once, exactly as training will: what passes here can be opened. Nothing is kept of it.

    Raises: as `open_audio`.
    """
    with _naming(name or str(path)), opened_file(path) as (file, digest):
        parts = clips(file)
        heard = list(dict.fromkeys(one for one, _ in _hear(parts)))
        return CheckedAudio(
            sha256=digest,
            length=sum(one.length for one in heard),
            rate=heard[0].rate,
            channels=max(one.channels for one in heard),
            silent=all(one.silent and one.first == heard[0].first for one in heard),
            cancels=any(one.stand_in is not None for one in heard),
            broken=parts.broken,
        )


def suffixes() -> frozenset[str]:
    """Endings of the names of audio files, in lower case, with their dot."""
    return SUFFIXES


class Hearing:
    """An audio clip as it is read through, and what was heard of it so far."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises: as `Decoder`."""
        self.file = file
        self._decoder = Decoder(file)
        self.rate, self.channels = self._decoder.rate, self._decoder.channels
        self.length = 0
        self.first: list[float] | None = None
        """The first sample of each channel."""
        self.silent = True
        """Whether all others are the same."""
        self._powers = np.zeros(self.channels)
        self._mean_power = 0.0

    @property
    def stand_in(self) -> int | None:
        """The channel that stands for all, of which the mean is silence; None: the mean is used."""
        return standing_in(self._powers, self._mean_power)

    def blocks(self) -> Iterator[Samples]:
        """The mean of the channels, `[n]` at a time. Raises: ValueError."""
        for block in self._decoder.blocks():
            if self.first is None:
                self.first = block[0].tolist()
            self.length += len(block)
            self.silent = self.silent and bool((block == np.array(self.first, np.float32)).all())
            channels = np.ascontiguousarray(block.T)
            mean = mean_of_channels(channels)[0]
            self._powers += [float(channel @ channel) for channel in channels]
            self._mean_power += float(mean @ mean)
            yield mean


def _hear(parts: Clips) -> Iterator[tuple[Hearing, Samples]]:
    """The samples of the audio clips of a file, one after another. Raises: ValueError for what cannot be one audio clip in memory."""
    heard, total = [Hearing(one) for one in parts.files], 0
    rates = sorted({one.rate for one in heard})
    if len(rates) > 1:
        raise ValueError(f"joined of audio clips at {' and '.join(f'{rate:,}' for rate in rates)} samples a second; split it")
    for one in heard:
        for block in one.blocks():
            total += len(block)
            if total > MAX_SAMPLES:
                raise ValueError(f"longer than {MAX_SAMPLES / one.rate / 3600:.1f} hours; cut it into shorter audio clips")
            yield one, block
    if not total:
        raise ValueError("no samples")


def _read(file: IO[bytes]) -> AudioClip:
    """Raises: ValueError; whatever soundfile raises."""
    kept: dict[Hearing, bytearray] = {}
    for one, block in _hear(clips(file)):
        kept.setdefault(one, bytearray()).extend(block.data)
    for one, samples in kept.items():
        if (channel := one.stand_in) is not None:
            samples[:] = b"".join(block[:, channel].tobytes() for block in Decoder(one.file).blocks())
    joined = next(iter(kept.values())) if len(kept) == 1 else bytearray().join(kept.values())
    return AudioClip(np.frombuffer(joined, np.float32)[None], next(iter(kept)).rate)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn whatever the decoder raises into a DataError that begins with `name`."""
    try:
        yield
    except (MemoryError, ConfigError):
        raise
    except Exception as error:
        raise DataError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    said = getattr(error, "error_string", None)  # of libsndfile, without soundfile's words around it
    if said is None:
        return (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else (str(error) or type(error).__name__).splitlines()[0]
        )
    if "not recognised" in said or "unknown format" in said.lower():
        return "not an audio clip in a format that can be read"
    return f"damaged or cut off ({said.removeprefix('Error : ').strip(' .')})"
