"""How audio clips become a network's input: one channel, the network's rate, padding marked by NaN; waveforms or spectrograms."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoo.backbones.backbone import Preprocess
from zoo.errors import ConfigError
from zoo.types import Kind

RATE = 16_000
"""Samples a second; neither kind exists at another rate."""
WINDOW = 400
"""Samples of a frame."""
HOP = 160
"""Samples from one frame to the next."""
_SPECTRUM = 512
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07
"""Of Kaldi, and of `ASTFeatureExtractor`."""
EXTRACTION = "preprocessor_config.json"
"""What transformers calls the file that says how audio clips are prepared; it stands beside the weights."""
ABSENT = float("nan")
"""What stands in a batch where there is no audio clip."""
MAX_CHANNELS = 1024
"""As many as libsndfile reads; more are samples `[T, channels]`, which would be averaged the wrong way."""
_EXAMPLE_SECONDS = 1.0
CANCELLED = 1e-3
"""Share of the power that the mean of independent channels has, below which channels are taken to cancel each other: 30 dB, which no
chance explains. Our own choice."""
Samples = NDArray[np.float32]


def filter_bank(samples: Tensor, mels: int) -> Tensor:
    """`[F, mels] float32`, Kaldi's log filter bank of an audio clip `[T]`: `F = 1 + (T - 400) // 160`.

    What `ASTFeatureExtractor` computes without torchaudio, but for all frames at once (65 ms became 3 ms for five seconds); with
    torchaudio it would give other digits, so that features would depend on what else is installed.
    """
    frames = samples.double().unfold(0, WINDOW, HOP)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * before) * torch.hann_window(WINDOW, periodic=False, dtype=torch.double)
    power = torch.fft.rfft(frames, _SPECTRUM).abs().square()
    logarithms: Tensor = (power @ _mel_filters(mels)).clamp(min=_FLOOR).log()
    return logarithms.float()


def log_mel(samples: Tensor, mels: int, frames: int) -> Tensor:
    """`[F, mels] float32`, Whisper's spectrogram of an audio clip `[T]`: the frames, of at most `frames`, that hear something of it.

    What Whisper has behind them is silence (`silence`), up to `frames` in all.
    """
    count = min(-(-(len(samples) + WINDOW // 2) // HOP), frames)
    length = min(
        count * HOP + WINDOW, frames * HOP
    )  # so that its last frames hear silence, as in an audio clip filled up with it
    given = functional.pad(samples, (0, max(length - len(samples), 0))).numpy()
    with torch.autocast("cpu", enabled=False):
        spectrum: Tensor = _whisper(mels)(given, sampling_rate=RATE, max_length=length, return_tensors="pt")["input_features"][0]
    return spectrum[:, :count].T.contiguous()


def silence(spectra: Tensor) -> Tensor:
    """`[N]`: what Whisper's spectrogram `[N, F, mels]`, NaN behind the audio clip, has where nothing is heard.

    Whisper cuts its decimal logarithm off at 8 below its greatest value, and at -10, before it takes (x + 4) / 4 of it.
    """
    greatest = spectra.nan_to_num(float("-inf")).amax((1, 2))
    return (greatest - 2.0).clamp(min=-1.5)


@cache
def _mel_filters(mels: int) -> Tensor:
    """`[257, mels] float64`."""
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        # Of 128 filters the lowest are narrower than a step of the spectrum, as they were in training.
        warnings.simplefilter("ignore")
        filters: Any = mel_filter_bank(
            num_frequency_bins=_SPECTRUM // 2 + 1,
            num_mel_filters=mels,
            min_frequency=20,
            max_frequency=RATE // 2,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return torch.from_numpy(filters).double()


@cache
def _whisper(mels: int) -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=mels)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class AudioClip:
    """An audio clip as it was made."""

    samples: Samples
    """`[channels, T]`, full scale from -1 to 1; of a file, `[1, T]` (`zoo.data.open_audio`)."""
    rate: int
    """Samples a second."""


@dataclass(frozen=True)
class AudioPreprocess(Preprocess):
    """How an audio clip becomes the network's input.

    A sample is `[W, T] float32` of a network that takes the waveform, else `[W, F, mels] float32`, frames of a spectrogram: W windows
    (one, unless `truncation` is `window` and the audio clip is long). In a batch `[B, W, ...]`, what an audio clip does not fill is NaN.
    """

    kind = Kind.AUDIO

    form: str
    """What the network takes: a `waveform`; Kaldi's spectrogram, `filter-bank` (AST); Whisper's, `log-mel`."""
    rate: int
    """Samples a second that the network was trained at; audio clips of another rate are resampled."""
    max_seconds: float
    """The longest window."""
    truncation: str
    """What is kept of a longer audio clip: `head` (its beginning), `tail` (its end), `head+tail` (half of each, joined), or all of it
    in windows of one length, one after another, whose features are averaged (`window`)."""
    pooling: str
    """How the features of a window's frames become one vector."""
    shortest: int
    """Samples that the network needs for one frame; a shorter audio clip is filled up with silence."""
    normalise: bool
    """Whether each window is brought to mean 0 and variance 1 (a waveform), or `mean` and `std` are applied (a filter bank)."""
    mels: int = 0
    """Bands of a spectrogram."""
    frames: int = 0
    """Frames that a network of spectrograms takes, always; what is missing behind an audio clip, the network is given as silence."""
    mean: float = 0.0
    std: float = 1.0
    """Of the filter bank's values in training; what is left is divided by twice `std`, as AST does."""

    def prepare(self, item: AudioClip | tuple[Samples, int]) -> Tensor:
        """`[W, T]` or `[W, F, mels]`, `float32`. The mean of the channels is cut, resampled (soxr, HQ), and made a spectrogram.

        item: an audio clip, or (samples `[T]` or `[channels, T]`, rate). Raises: ValueError for anything else, or no samples.
        """
        return self.finish(self.mono(item))

    def mono(self, item: AudioClip | tuple[Samples, int]) -> AudioClip:
        """The mean of the channels, or the loudest where they cancel each other, `[1, T]`.

        Raises: ValueError if there is nothing, or what is not a number.
        """
        if isinstance(item, AudioClip):
            item = (item.samples, item.rate)
        if not isinstance(item, tuple) or len(item) != 2:
            raise ValueError(f"a {type(item).__name__}; expected an audio clip, or a tuple of samples and their rate")
        samples, rate = _as_floats(np.atleast_2d(np.asarray(item[0]))), item[1]
        if samples.ndim != 2 or not samples.size or len(samples) > MAX_CHANNELS or rate < 1:
            raise ValueError(f"samples {list(samples.shape)} at {rate} Hz; expected [T] or [channels, T], and a rate")
        mixed = mean_of_channels(samples)
        if (channel := standing_in(_powers(samples), float(_powers(mixed)[0]))) is not None:
            mixed = samples[channel : channel + 1]
        if not np.isfinite(mixed).all():
            raise ValueError("samples that are NaN or infinite")
        return AudioClip(mixed, rate)

    def finish(self, clip: AudioClip) -> Tensor:
        """What `prepare` does with one channel. Raises: ConfigError where the resampler is not installed."""
        windows = [self._resample(window, clip.rate) for window in self._cut(clip.samples[0], clip.rate)]
        return self.collate([self._shape(torch.from_numpy(window))[None] for window in windows]).flatten(0, 1)

    def collate(self, samples: Sequence[Tensor]) -> Tensor:
        """`[B, W, T]` or `[B, W, F, mels]`, W and T (F) those of the largest sample."""
        windows, length = (max(sample.shape[axis] for sample in samples) for axis in (0, 1))
        batch = torch.full((len(samples), windows, length, *samples[0].shape[2:]), ABSENT)
        for row, sample in zip(batch, samples, strict=True):
            row[: sample.shape[0], : sample.shape[1]] = sample
        return batch

    def ready(self, batch: Tensor) -> Tensor:
        """Waveforms, each window at mean 0 and variance 1 over what is there, where the network was trained so; filter banks at the
        mean and spread of its training. NaN stays."""
        if not self.normalise:
            return batch
        if self.form == "filter-bank":
            return (batch - self.mean) / (2 * self.std)
        count = (~batch.isnan()).sum(2, keepdim=True).clamp(min=1)
        centred = batch - batch.nansum(2, keepdim=True) / count
        variance = centred.square().nansum(2, keepdim=True) / count
        return centred / (variance + 1e-7).sqrt()  # the 1e-7 is of Wav2Vec2FeatureExtractor

    def example(self, count: int) -> Tensor:
        """`[count, 1, T]` or `[count, 1, F, mels]`, drawn from a normal distribution: a second, or the most if that is less."""
        seconds = min(_EXAMPLE_SECONDS, self.max_seconds)
        length = max(int(seconds * self.rate), self.shortest)
        shape = (length,) if self.form == "waveform" else (min(length // HOP, self.frames), self.mels)
        return torch.randn(count, 1, *shape, generator=torch.Generator().manual_seed(0))

    def options(self) -> dict[str, Any]:
        """`max_seconds`, `truncation`, `pooling`."""
        return {"max_seconds": self.max_seconds, "truncation": self.truncation, "pooling": self.pooling}

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `config.json`."""
        return {"kind": self.kind.value, **{own.name: getattr(self, own.name) for own in fields(self)}}

    def save(self, folder: Path) -> None:
        """Write what transformers' feature extractor of the network reads."""
        (folder / EXTRACTION).write_text(json.dumps(self._extraction(), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{name: value for name, value in values.items() if name != "kind"})

    def _extraction(self) -> dict[str, Any]:
        common = {"sampling_rate": self.rate, "padding_value": 0.0}
        if self.form == "waveform":
            kind = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "return_attention_mask": True}
            return {**common, **kind, "do_normalize": self.normalise}
        if self.form == "filter-bank":
            kind = {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": self.mels, "max_length": self.frames}
            return {**common, **kind, "do_normalize": self.normalise, "mean": self.mean, "std": self.std}
        seconds = self.frames * HOP // self.rate
        kind = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": self.mels, "chunk_length": seconds}
        return {**common, **kind, "n_fft": WINDOW, "hop_length": HOP, "nb_max_frames": self.frames}

    def _cut(self, samples: Samples, rate: int) -> list[Samples]:
        """The windows `[T]` at the audio clip's own rate, so that what is not kept is not resampled."""
        most = max(int(self.max_seconds * rate), 1)
        if len(samples) <= most:
            return [samples]
        if self.truncation == "window":
            return list(np.array_split(samples, -(-len(samples) // most)))
        tail = {"head": 0, "tail": most, "head+tail": most // 2}[self.truncation]
        return [np.concatenate([samples[: most - tail], samples[len(samples) - tail :]])]

    def _resample(self, samples: Samples, rate: int) -> Samples:
        """At the network's rate, at least `shortest` and at most `max_seconds` long."""
        if rate != self.rate:
            samples = _soxr().resample(np.ascontiguousarray(samples), rate, self.rate, quality="HQ")
        samples = samples[: max(int(self.max_seconds * self.rate), 1)]
        return np.pad(samples, (0, max(self.shortest - len(samples), 0)))

    def _shape(self, samples: Tensor) -> Tensor:
        """`[T]` or `[F, mels]` of samples `[T]`."""
        if self.form == "waveform":
            return samples
        if self.form == "filter-bank":
            return filter_bank(samples, self.mels)[: self.frames]
        return log_mel(samples, self.mels, self.frames)


def mean_of_channels(samples: Samples) -> Samples:
    """`[1, T]` of `[channels, T]`."""
    return samples if len(samples) == 1 else samples.mean(0, keepdims=True, dtype=np.float32)


def standing_in(powers: NDArray[np.float64], mean: float) -> int | None:
    """The loudest channel, where channels cancel each other when they are averaged (one is the other upside down); else None.

    Args:
        powers: `[channels]`, the sum of the squares of each channel's samples.
        mean: the same of their mean: of independent channels, `powers.mean() / len(powers)`.
    """
    return int(powers.argmax()) if mean < CANCELLED * powers.mean() / len(powers) else None


def _powers(samples: Samples) -> NDArray[np.float64]:
    return np.array([float(channel @ channel) for channel in samples])


def _as_floats(samples: NDArray[Any]) -> Samples:
    """Full scale from -1 to 1; signed integers, as other readers give them, are brought to it. Raises: ValueError for other types."""
    if np.issubdtype(samples.dtype, np.signedinteger):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples of type {samples.dtype}; expected floating-point numbers from -1 to 1")
    return samples.astype(np.float32, copy=False)


def _soxr() -> Any:
    try:
        import soxr
    except ImportError as error:
        raise ConfigError(
            "audio clips of another rate are resampled by soxr, which is not here: pip install 'zoo-finetune[audio]'"
        ) from error
    return soxr
