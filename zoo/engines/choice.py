"""Which engine to use for so many samples: what a conversion costs against what it saves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.engines.catalogue import INSTALL, computes_in, installed, is_converted, prepare, require
from zoo.engines.engine import TOLERANCE, Engine, agreement, fill
from zoo.errors import ConfigError, EngineFailed, OutputError, RunFailed, first_line

log = logging.getLogger("zoo")

CPU_BATCH, GPU_BATCH = 16, 64
"""Samples in a batch where it is not said. On a CPU no other is tried: the last bits of the rows depend on it, and it gains too little.

Milliseconds of one core for a sample in batches of 8, 16, 32 and 64. torch: EfficientNet-Lite0 at 128 pixels 3.9, 2.5, 4.2, 5.7, at 224
pixels 13, 13, 21, 25; ResNet-18 16, 17, 19, 22; ResNet-50 at 160 pixels 32, 23, 27, 31; MobileNetV3-Small at 96 pixels 0.77, 0.63, 0.79,
0.76. OpenVINO: 1.3, 1.4, 1.6, 1.7; 4.8, 4.9, 5.3, 5.4; 14.0, 14.3, 14.0, 14.3; not measured; 0.33, 0.27, 0.23, 0.23.
"""
_CALLS, _ENOUGH = (2, 5), 0.5
"""At least and at most so many calls are timed, stopping after so many seconds."""


@dataclass(frozen=True)
class Expected:
    """What is known of an engine before it is prepared."""

    gain: float
    """Times as fast as torch."""
    convert: float
    """Seconds to convert or compile a network, the import of the library included."""
    load: float
    """Seconds to load one that was converted before."""


EXPECTED = {
    "openvino": Expected(gain=2.0, convert=3.0, load=0.5),
    "onnxruntime": Expected(gain=1.7, convert=5.0, load=0.4),
    "compile": Expected(gain=1.3, convert=40.0, load=40.0),
}
"""In the order in which they are tried.

Measured on two cores of an x86 CPU with AVX-512, batches of 16, as ratios of CPU time to torch's (EfficientNet-Lite0 at 128 pixels,
ResNet-50, ViT-S/16, ConvNeXt-T, Swin-T): OpenVINO 2.8, 1.3, 2.1, 2.0, 2.3; ONNX Runtime 2.5, 1.3, 1.5, 1.7, 1.7; compiled 2.1 for the
first, 1.0 for the third. Conversions took 1.1 to 2.6 s, to which the import of torch by the process that converts adds 1.1 s, and 3.1 to
9.4 s; loading 0.4 to 0.7 s and 0.1 to 0.4 s.
"""


EXPECTED_VARYING = {"openvino": Expected(gain=2.5, convert=6.0, load=0.7)}
"""Of texts. Measured as above, all-MiniLM-L6-v2 on texts of 1 to 256 tokens: 3.9 times."""


def pays(samples: int, torch_seconds: float, fastest_seconds: float, expected: Expected, *, converted: bool = False) -> bool:
    """Whether preparing one more engine is expected to take less time than it saves.

    samples: how many are still to come; torch_seconds, fastest_seconds: a sample, by torch and by the fastest engine so far.
    """
    saved = samples * (fastest_seconds - torch_seconds / expected.gain)
    return saved > (expected.load if converted else expected.convert)


def choose(
    net: nn.Module,
    images: Tensor,
    *,
    name: str,
    samples: int,
    device: torch.device,
    channels_last: bool,
    precision: str,
    folder: Path | None,
    batch_size: int | None,
    varying: bool = False,
) -> tuple[Engine, str]:
    """An engine for `samples` samples, and a line that says which and why.

    An engine whose rows differ from torch's by more than `TOLERANCE` is refused with a warning, as is one that cannot take the
    network, or whose process dies or hangs; torch stands in for it.

    Args:
        net: gives one tensor `[B, ...]`; left as it is (see `prepare`, also for `channels_last`, `precision` and `folder`).
        images: the first of them, `[b, 3, S, S]` on the CPU, of the type that `net` takes; up to 64 are of use.
        name: one of `NAMES`, or `auto`: on a CPU the one that is expected to be done first, of those that compute in this
            precision, measured on `images`; else torch.
        batch_size: None is 16 on a CPU and 64 on a GPU, where it is halved for as long as the memory does not suffice.
        varying: the last dimension differs from batch to batch, as the tokens of texts do.

    Raises: UnknownName; ConfigError for an engine that is not installed, or not for this device or precision; RunFailed if a GPU
    has no room for a single sample.
    """
    if name != "auto":
        require(name, device, precision, varying)
    choice = _Choice(net, images, samples, device, channels_last, precision, folder, varying)
    choice.start(batch_size or (CPU_BATCH if device.type == "cpu" else GPU_BATCH))
    if name not in ("auto", "torch"):
        choice.consider(name)
    elif name == "auto" and device.type == "cpu":
        choice.best()
    return choice.engine, choice.line()


@dataclass
class _Choice:
    """The state of one choice: torch and its rows, and the best engine so far."""

    net: nn.Module
    images: Tensor
    samples: int
    device: torch.device
    channels_last: bool
    precision: str
    folder: Path | None
    varying: bool
    notes: list[str] = field(default_factory=list)

    def start(self, batch_size: int) -> None:
        """Prepare torch and run it once; on a GPU, with as many samples as fit."""
        while not self.started(batch_size):
            if batch_size == 1:
                raise RunFailed("the GPU has no room for a single sample; make room on it, or use --device cpu")
            torch.cuda.empty_cache()
            batch_size //= 2

    def started(self, batch_size: int) -> bool:
        """Whether the memory sufficed."""
        try:
            self.torch = self.engine = self.prepared("torch", batch_size)
            began = time.perf_counter()
            self.reference = self.torch(self.batch(batch_size))
            self.first = (time.perf_counter() - began) / batch_size
        except torch.cuda.OutOfMemoryError:
            return False
        return True

    def best(self) -> None:
        """Try the engines that can still save more than they cost."""
        # The first call is slower than the others: what does not pay by its measure does not pay at all.
        if not any(self.worth(name, self.first, self.first) for name in self.expected):
            self.notes.append(f"at most {self.samples * self.first:.1f} s for {self.samples:,} samples, no conversion pays")
            return
        slow = self.time(self.torch)
        for name in self.expected:
            if name in installed() and self.worth(name, slow, self.engine.seconds_per_sample or slow):
                self.consider(name)
        missing = "openvino" in self.expected and "openvino" not in installed()
        if missing and self.worth("openvino", slow, self.engine.seconds_per_sample or slow):
            self.notes.append(f"openvino may take half the time: {INSTALL}")

    def worth(self, name: str, torch_seconds: float, fastest_seconds: float) -> bool:
        found = name in installed() and is_converted(name, self.batch(self.torch.batch_size), self.folder, self.varying)
        return pays(self.samples, torch_seconds, fastest_seconds, self.expected[name], converted=found)

    @property
    def expected(self) -> dict[str, Expected]:
        known = EXPECTED_VARYING if self.varying else EXPECTED
        return {name: one for name, one in known.items() if computes_in(self.precision, name)}

    def consider(self, name: str) -> None:
        """Prepare an engine, and take it if it agrees with torch and is faster, or was asked for (torch is not timed then)."""
        began = time.perf_counter()
        try:
            engine = self.prepared(name, self.torch.batch_size)
            rows = engine(self.batch(engine.batch_size))
            took = time.perf_counter() - began
            self.check(engine, rows)
            fastest = self.engine.seconds_per_sample
            better = fastest is None or self.time(engine) < fastest
        except (ConfigError, EngineFailed, OutputError, torch.cuda.OutOfMemoryError) as error:
            log.warning("passed over: %s", first_line(error))
            self.torch.stands_in |= isinstance(error, EngineFailed)
            return
        if better:
            self.take(engine)
            self.notes = [f"prepared in {took:.1f} s for {self.samples:,} samples"]
        else:
            engine.close()
            self.notes.append(f"{name} {_milliseconds(engine)}")

    def check(self, engine: Engine, rows: NDArray[np.float32]) -> None:
        """Raises: ConfigError if it gives other rows than torch, as it will the next time."""
        difference = max([agreement(rows, self.reference), *(self.disagreement(engine, batch) for batch in self.shorter())])
        if difference > TOLERANCE[self.precision]:
            engine.close()
            where = f", or remove {self.folder} if it belongs to another network" if self.folder else ""
            raise ConfigError(f"the engine {engine.name} differs from torch by {difference:.1g}; use torch{where}")

    def take(self, engine: Engine) -> None:
        """Go on with another engine."""
        if self.engine is not self.torch:
            self.engine.close()
        self.engine = engine

    def shorter(self) -> list[Tensor]:
        """Of samples that vary in length, the first batch cut: a converter may have taken its length for a constant."""
        batch, length = self.batch(self.torch.batch_size), self.images.shape[-1]
        return [batch[..., :some] for some in (length // 2, length // 3 + 1) if self.varying and 0 < some < length]

    def disagreement(self, engine: Engine, batch: Tensor) -> float:
        try:
            return agreement(engine(batch), self.torch(batch))
        except Exception as error:  # the library's own: it was made for one length after all
            log.warning("the engine %s cannot run another length: %s", engine.name, first_line(error))
            return float("inf")

    def prepared(self, name: str, batch_size: int) -> Engine:
        return prepare(
            name,
            self.net,
            self.batch(batch_size),
            device=self.device,
            channels_last=self.channels_last,
            precision=self.precision,
            folder=self.folder,
            varying=self.varying,
        )

    def batch(self, size: int) -> Tensor:
        return fill(self.images, size)

    def time(self, engine: Engine) -> float:
        """Seconds a sample of an engine that has run once, which it keeps."""
        engine.seconds_per_sample = fastest(engine, self.batch(engine.batch_size)) / engine.batch_size
        return engine.seconds_per_sample

    def line(self) -> str:
        """`engine openvino: 0.8 ms a sample, torch 4.3 ms; prepared in 1.9 s for 3,000 samples; batches of 16`."""
        speeds = [_milliseconds(self.engine) + " a sample"] if self.engine.seconds_per_sample else []
        if self.engine.name != "torch" and self.torch.seconds_per_sample:
            speeds.append(f"torch {_milliseconds(self.torch)}")
        parts = [", ".join(speeds), *self.notes, f"batches of {self.engine.batch_size}"]
        return f"engine {self.engine.name}: {'; '.join(filter(None, parts))}"


def fastest(run: Callable[[Tensor], NDArray[np.float32]], images: Tensor) -> float:
    """Seconds of the fastest of a few calls: what else the machine does only adds."""
    seconds: list[float] = []
    while len(seconds) < _CALLS[0] or (len(seconds) < _CALLS[1] and sum(seconds) < _ENOUGH):
        began = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _milliseconds(engine: Engine) -> str:
    return f"{1000 * (engine.seconds_per_sample or 0):.2g} ms"
