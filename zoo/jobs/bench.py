"""How fast this machine does each part of the work on the user's own samples, beside what its processor can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import engines, memory
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.config import Resolved
from zoo.data.augmentation import train_transform
from zoo.data.loading.loaders import EvalBatches
from zoo.data.loading.worker_count import workers
from zoo.data.sets import SampleSet
from zoo.data.splits import open_splits
from zoo.engines import precision
from zoo.errors import ConfigError
from zoo.training import assembly, launch
from zoo.training.collect import channels_last, place, prepare
from zoo.training.method import flops
from zoo.training.probe import sweep

SAMPLES = 64
"""Samples that are read and run through the network."""
LEAST = 0.5
"""Seconds for which each part is repeated, once it has run."""
SOLVED = 1_000
"""Rows of the probe that is solved."""


@dataclass(frozen=True)
class Part:
    """One part of the work."""

    part: str
    samples_per_second: float
    milliseconds: float
    """For one sample."""
    gflops: float | None = None
    """Billions of operations a second, where they are counted: multiplications and additions, as `torch.utils.flop_counter` has it."""
    of_peak: float | None = None
    """`gflops` as a share of the matrix-multiply peak, 0 to 1."""


@dataclass(frozen=True)
class Bench:
    """What was measured."""

    backbone: str
    options: dict[str, Any]
    """What a sample is made by: of images, `image_size`."""
    device: str
    threads: int
    matmul_gflops: float
    """The peak of a large matrix multiplication in fp32, billions of operations a second."""
    memory_gb_per_second: float
    """Reading and writing together, of a copy that does not fit the processor's caches."""
    gflop_per_sample: float
    """Operations of a forward pass, in billions."""
    intensity: float
    """Operations per byte that the weights and one batch's input take at least: below `matmul_gflops / memory_gb_per_second`, the memory
    limits the forward pass, above it the arithmetic (the roofline, doi.org/10.1145/1498765.1498785)."""
    parts: list[Part]

    def to_dict(self) -> dict[str, Any]:
        """As one JSON-safe object."""
        return asdict(self)


@launch.one_run()
@memory.kept()
@precision.full_float32()
def bench(resolved: Resolved) -> Bench:
    """Measure every part of the work for these options; keeps nothing. Raises: ZooError."""
    resolved = launch.settle(resolved)
    config = resolved.config
    if config.machine.processes > 1:
        raise ConfigError(f"processes is {config.machine.processes}; the parts are measured in one process")
    device = torch.device(config.machine.device)
    splits = open_splits(config)
    model = prepare(assembly.build_model(config, splits), device)
    samples, preprocess = splits.train, model.backbone.preprocess
    peak, bandwidth = matmul_gflops(device), memory_gb_per_second(device)
    parts = _reading(samples, model, config.data.augment, workers(config), config.optim.batch_size)
    count = min(config.optim.batch_size, SAMPLES, len(samples))
    (batch,) = EvalBatches(samples, preprocess, batch_size=count, only=np.arange(count))
    images = preprocess.ready(batch.inputs)
    operations = flops(model, images[:1].to(device))

    def compute(part: str, seconds: float, times: float) -> Part:
        speed = times * operations / seconds / 1e9
        return Part(part, 1 / seconds, 1e3 * seconds, speed, speed / peak)

    cut = boundary.behind(model)
    for name in _engines(config.machine.engine, device):
        engine = engines.prepare(
            name, cut.prefix, images, device=device, channels_last=channels_last(model.backbone), precision="no", folder=None
        )
        parts.append(compute(f"forward, {name}", time_of(lambda: engine(images)) / count, 1))  # noqa: B023 - called at once
    parts.append(compute("forward and backward of everything", time_of(lambda: _step(model, images, device)) / count, 3))
    parts.append(_probe(model.backbone.feature_dim, len(splits.labels), device))
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    return Bench(
        backbone=config.model.backbone,
        options=preprocess.options(),
        device=assembly.device_name(device),
        threads=torch.get_num_threads(),
        matmul_gflops=peak,
        memory_gb_per_second=bandwidth,
        gflop_per_sample=operations / 1e9,
        intensity=operations * count / (weights + images.numel() * 4),
        parts=parts,
    )


def _engines(asked: str, device: torch.device) -> list[str]:
    """The engine that was asked for, else all that are installed; compiling takes too long to be done unasked."""
    if asked != "auto":
        return [asked]
    return [name for name in engines.installed() if name == "torch" or (device.type == "cpu" and name != "compile")]


def time_of(work: Callable[[], object]) -> float:
    """Seconds of one call: the fastest of those that fit into `LEAST` seconds, after one to warm up; what else runs only adds."""
    work()
    times: list[float] = []
    while sum(times) < LEAST or len(times) < 2:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def matmul_gflops(device: torch.device, side: int = 2048) -> float:
    """Billions of operations a second of `side x side` matrices multiplied in fp32; a product takes 2 side^3."""
    left, right = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    return 2 * side**3 / time_of(lambda: (left @ right).sum().item()) / 1e9


def memory_gb_per_second(device: torch.device, size: int = 1 << 28) -> float:
    """Billions of bytes a second that a copy of `size` bytes reads and writes."""
    source, target = torch.ones(size // 4, device=device), torch.empty(size // 4, device=device)
    return 2 * size / time_of(lambda: target.copy_(source)[-1].item()) / 1e9


def _reading(samples: SampleSet, model: AdaptedModel, augment: str, workers: int, batch_size: int) -> list[Part]:
    preprocess = model.backbone.preprocess
    some = np.linspace(0, len(samples) - 1, min(SAMPLES, len(samples))).astype(np.int64)
    transform = train_transform(preprocess, augment)
    opened = [samples.item(int(index), preprocess.decode_at) for index in some]

    def loaded() -> None:
        for _ in loader:
            pass

    many = np.resize(np.arange(len(samples)), max(len(some), 16 * batch_size))
    loader = EvalBatches(samples, preprocess, batch_size=batch_size, augment=augment, only=many, num_workers=workers)
    times = {
        "decode, one process": time_of(lambda: [samples.item(int(index), preprocess.decode_at) for index in some]) / len(some),
        f"resize and vary ({augment}), one process": time_of(lambda: [transform(image) for image in opened]) / len(opened),
        f"read in batches, {workers} workers": time_of(loaded) / len(many),
    }
    return [Part(part, 1 / seconds, 1e3 * seconds) for part, seconds in times.items()]


def _step(model: AdaptedModel, images: Tensor, device: torch.device) -> float:
    """Forward and backward through the whole network, whatever the strategy freezes; the gradients are dropped."""
    parameters = list(model.parameters())
    trains = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    logits = model(place(images, device, channels_last(model.backbone)))
    gradients = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(dim=1)), parameters, allow_unused=True)
    for parameter, trained in zip(parameters, trains, strict=True):
        parameter.requires_grad_(trained)
    return float(sum(one.sum() for one in gradients if one is not None))


def _probe(width: int, classes: int, device: torch.device) -> Part:
    """The head solved on random features, all scalings and strengths."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((SOLVED, width), dtype=np.float32)
    targets = generator.integers(0, classes, SOLVED)
    began = time.perf_counter()
    for _ in sweep.sweep(features, targets, classes, device=device):
        pass
    seconds = (time.perf_counter() - began) / SOLVED
    return Part("solve the head, all candidates", 1 / seconds, 1e3 * seconds)
