"""Audio: ours against FFmpeg (PyAV), SciPy and Python's own `wave`.

A file is equal where any of them agrees: decoders of lossy formats differ in rounding and in how many samples before and behind the sound
they leave out, so lengths may differ by some frames of MP3, and samples are compared where they fit best.
"""

from __future__ import annotations

import warnings
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.decoding.audio_files import check_audio, open_audio
from zoo.errors import DataError

SOURCES = (
    ("mutagen", "python"),
    ("taglib", "debian"),
    ("audiofile", "debian"),
    ("libsndfile", "debian"),
    ("flac", "debian"),
    ("pygame", "debian"),
    ("quodlibet", "debian"),
    ("snd", "debian"),
    ("supercollider", "debian"),
    ("pocketsphinx", "debian"),
    ("opusfile", "debian"),
    ("lame", "debian"),
)
FORMATS = {
    ".wav": "WAV", ".wave": "WAV", ".w64": "WAV", ".rf64": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".au": "AU",
    ".snd": "AU", ".caf": "CAF", ".flac": "FLAC", ".mp3": "MP3", ".ogg": "Ogg", ".oga": "Ogg", ".opus": "Ogg",
}  # fmt: skip
_SPARE = 3 * 1152 + 2 * 529
"""Samples by which lengths may differ: three frames of MP3 and what two decoders are late by."""
_TOLERANCE = 0.05
"""Mean difference, as a share of the mean size of the samples: FFmpeg decodes Opus by a decoder of its own, which is 4 % off libopus."""
_SILENCE = 1e-3
"""Mean size of samples that are not heard: 60 dB below full scale."""
_COMPARED = 1 << 16
"""Samples by which the best fit is looked for."""

Samples = NDArray[np.float32]
"""`[T, channels]`, full scale from -1 to 1."""


def check(path: Path) -> tuple[str, str]:
    """Ours against each reader that can read the file."""
    try:
        known = check_audio(path)
        sound = open_audio(path)
    except DataError as error:
        return "refused", str(error).removeprefix(f"{path}: ")
    ours = sound.samples[0]
    if len(ours) != known.length:
        return "wrong", f"{len(ours):,} samples, {known.length:,} when it was checked"
    differences = []
    for name, read in READERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rate, theirs = read(path)
        except Exception:  # a library's own, of any kind
            continue
        difference = compare(ours, sound.rate, theirs, rate)
        if not difference:
            return "equal", name
        differences.append(f"{name}: {difference}")
    return ("wrong", "; ".join(differences)) if differences else ("no reader", "")


def compare(ours: Samples, our_rate: int, theirs: Samples, rate: int) -> str:
    """What is different; nothing if they are alike. Ours is the mean of the channels, or the loudest, where they cancel each other."""
    if rate != our_rate:
        return f"{rate:,} samples a second, ours {our_rate:,}"
    if abs(len(theirs) - len(ours)) > _SPARE:
        return f"{len(theirs):,} samples, ours {len(ours):,}"
    share = min(_apart(ours, one) for one in (theirs.mean(axis=1), *theirs.T))
    return f"mean difference {share:.1%} of the samples" if share > _TOLERANCE else ""


def _apart(ours: Samples, theirs: Samples) -> float:
    """The mean difference where they fit best, as a share of the mean size."""
    if not len(ours) or not len(theirs):
        return float(len(ours) != len(theirs))
    size = max(float(np.abs(ours).mean()), _SILENCE)
    found = []
    for shift in _shifts(ours[:_COMPARED], theirs[:_COMPARED]):
        mine, other = ours[max(shift, 0) :], theirs[max(-shift, 0) :]
        length = min(len(mine), len(other))
        found.append(float(np.abs(mine[:length] - other[:length]).mean()) / size if length else np.inf)
    return min(found)


def _shifts(ours: Samples, theirs: Samples) -> list[int]:
    """No shift, and that at which the beginnings are most alike."""
    length = len(ours) + len(theirs)
    product = np.fft.irfft(np.fft.rfft(ours, length) * np.fft.rfft(theirs, length).conj(), length)
    best = int(product.argmax())
    best = best if best < length // 2 else best - length
    return [0, best] if abs(best) <= _SPARE else [0]


def ffmpeg(path: Path) -> tuple[int, Samples]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        frames = [one.to_ndarray() for frame in container.decode(stream) for one in resampler.resample(frame)]
        rate = int(stream.codec_context.sample_rate)
    return rate, np.concatenate(frames, axis=1).T


def scipy(path: Path) -> tuple[int, Samples]:
    from scipy.io import wavfile

    rate, values = wavfile.read(path)
    if values.dtype.kind == "u":
        scaled = values.astype(np.float64) / 128 - 1
    elif values.dtype.kind == "i":
        scaled = values.astype(np.float64) / -float(np.iinfo(values.dtype).min)
    else:
        scaled = values
    return int(rate), np.asarray(scaled, np.float32).reshape(len(values), -1)


def standard(path: Path) -> tuple[int, Samples]:
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise ValueError("samples of another size")
        values = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), (values / 32768).astype(np.float32).reshape(-1, file.getnchannels())


READERS: dict[str, Callable[[Path], tuple[int, Samples]]] = {"FFmpeg": ffmpeg, "SciPy": scipy, "wave": standard}
