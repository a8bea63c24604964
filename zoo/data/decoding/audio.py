"""Any file of recorded sound as samples, or one line that says why not."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from zoo.backbones.audio import Samples, Sound, mean_of_channels, standing_in
from zoo.data.decoding.audio_blocks import Clips, Decoder, clips
from zoo.data.files import opened_file
from zoo.errors import ConfigError, DataError

Source = str | os.PathLike[str] | bytes | IO[bytes]

SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave")
)
"""Endings of the names of audio clips, in lower case, with their dot; what libsndfile 1.2 decodes by itself."""
MAX_SAMPLES = 1 << 28
"""Samples of the longest audio clip that is read, its channels taken as one: 1.7 hours at 44.1 kHz, 4.7 at 16 kHz; 1 GiB as float32."""


@dataclass(frozen=True)
class CheckedSound:
    """What is known of a file of sound once it has been read and decoded as a whole."""

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


def open_sound(source: Source, name: str | None = None, sha256: str = "") -> Sound:
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


def check_sound(path: Path, name: str | None = None) -> CheckedSound:
    """Read and decode a file once, exactly as training will: what passes here can be opened. Nothing is kept of it.

    Raises: as `open_sound`.
    """
    with _naming(name or str(path)), opened_file(path) as (file, digest):
        parts = clips(file)
        heard = list(dict.fromkeys(one for one, _ in _hear(parts)))
        return CheckedSound(
            sha256=digest,
            length=sum(one.length for one in heard),
            rate=heard[0].rate,
            channels=max(one.channels for one in heard),
            silent=all(one.silent and one.first == heard[0].first for one in heard),
            cancels=any(one.stand_in is not None for one in heard),
            broken=parts.broken,
        )


def suffixes() -> frozenset[str]:
    """Endings of the names of files of sound, in lower case, with their dot."""
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


def _read(file: IO[bytes]) -> Sound:
    """Raises: ValueError; whatever soundfile raises."""
    kept: dict[Hearing, bytearray] = {}
    for one, block in _hear(clips(file)):
        kept.setdefault(one, bytearray()).extend(block.data)
    for one, samples in kept.items():
        if (channel := one.stand_in) is not None:
            samples[:] = b"".join(block[:, channel].tobytes() for block in Decoder(one.file).blocks())
    joined = next(iter(kept.values())) if len(kept) == 1 else bytearray().join(kept.values())
    return Sound(np.frombuffer(joined, np.float32)[None], next(iter(kept)).rate)


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
