"""Any file of recorded sound as samples, or one line that says why not. Decoded by libsndfile (soundfile) alone."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo.backbones.sounds import Sound
from zoo.data.files import read_file
from zoo.errors import ConfigError, DataError

Source = str | os.PathLike[str] | bytes | IO[bytes]

SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave")
)
"""Endings of the names of recordings, in lower case, with their dot; what libsndfile 1.2 decodes by itself."""
MAX_SAMPLES = 1 << 28
"""Samples of the longest recording that is decoded, over all channels: 4.6 hours at 16 kHz, 1 GiB as float32."""
RATES = (1_000, 768_000)
"""Samples a second: less than telephones or more than any studio is a damaged header."""

_CUT = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile writes where a WAV or AIFF file says that it holds more, or less, than it does."""
_ENDLESS = 0x7FFF0000
"""A WAV file that was written into a pipe says that it holds at least so many bytes, not knowing how many."""


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

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / self.rate


def open_sound(source: Source, name: str | None = None, sha256: str = "") -> Sound:
    """A recording with all its channels, at its own rate, as float32 from -1 to 1.

    Args:
        source: a path, the bytes of a file, or a binary stream.
        name: what errors call it; by default the path.
        sha256: what a path's file must have; empty: any.

    Raises: DataError, which names the file and the reason; ConfigError where soundfile is not installed.
    """
    with _naming(name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "recording")):
        if isinstance(source, (str, os.PathLike)):
            source = read_file(Path(source), sha256)
        return _decode(source if isinstance(source, bytes) else source.read())


def check_sound(path: Path, name: str | None = None) -> CheckedSound:
    """Read and decode a file once, exactly as training will: what passes here can be opened. Raises: as `open_sound`."""
    with _naming(name or str(path)):
        content = read_file(path)
        sound = _decode(content)
        channels, length = sound.samples.shape
        silent = bool((sound.samples == sound.samples[:, :1]).all())
        return CheckedSound(hashlib.sha256(content).hexdigest(), length, sound.rate, channels, silent)


def suffixes() -> frozenset[str]:
    """Endings of the names of files of sound, in lower case, with their dot."""
    return SUFFIXES


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
        return "not a recording in a format that can be read"
    return f"damaged or cut off ({said.removeprefix('Error : ').strip(' .')})"


def _decode(content: bytes) -> Sound:
    with _soundfile().SoundFile(io.BytesIO(content)) as file:
        _check_header(file)
        samples = file.read(dtype="float32", always_2d=True)
        # An MP3 file may count some frames more than it holds; what ends in the middle lacks more than that.
        if len(samples) < 0.99 * file.frames:
            raise ValueError(f"cut off: {len(samples):,} of {file.frames:,} samples are there")
        rate = file.samplerate
    if not np.isfinite(samples).all():
        raise ValueError("samples that are NaN or infinite")
    return Sound(np.ascontiguousarray(samples.T), rate)


def _check_header(file: Any) -> None:
    """Raises: ValueError for what is empty, too long, cut off, or at no possible rate."""
    if not file.frames:
        raise ValueError("no samples")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise ValueError(f"{file.samplerate:,} samples a second; expected {RATES[0]:,} to {RATES[1]:,}")
    if file.frames * file.channels > MAX_SAMPLES:
        raise ValueError(f"more than {MAX_SAMPLES // 1_000_000} million samples; cut it into shorter recordings")
    cut = _CUT.search(file.extra_info)
    if cut and int(cut[2]) < int(cut[1]) < _ENDLESS:
        raise ValueError(f"cut off: {int(cut[2]):,} of {int(cut[1]):,} bytes are there")


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without the library that it wraps
        raise ConfigError(
            "recordings are read by soundfile, which is not installed: pip install 'zoo-finetune[audio]'"
        ) from error
    return soundfile
