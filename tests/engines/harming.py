"""For tests: a network that only a converter spoils, and what a reader may do to the engine of its run, in the midst of the extraction."""

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor, nn

HARM = "ZOO_TEST_HARM"
"""Variable that names the signal for `harm`."""


def engine_processes(parent: int, name: str = "") -> list[psutil.Process]:
    """The engines' processes below a process."""
    children = psutil.Process(parent).children(recursive=True)
    return [child for child in children if {"zoo.runtimes", name or "zoo.runtimes"} <= set(_arguments(child))]


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def harm(number: int) -> None:
    """A `worker_init_fn`: the first worker sends the engine of its parent a signal, once."""
    if number == 0:
        for process in engine_processes(os.getppid()):
            os.kill(process.pid, signal.Signals[os.environ[HARM]])


def harm_later(number: int) -> None:
    """As `harm`, but the first set of samples that is read by workers is let pass."""
    before = Path(os.environ[HARM + "_SEEN"])
    if number == 0 and before.exists():
        harm(number)
    before.touch()


def photos(root: Path, count: int = 100, size: int = 40, val: int = 10) -> Path:
    """PNGs of two classes, so many to train and to validate; the last ten of each class are dark."""
    rng = np.random.default_rng(0)
    for folder, some in (("train/a", count // 2), ("train/b", count // 2), ("val/a", val // 2), ("val/b", val // 2)):
        (root / folder).mkdir(parents=True)
        for number in range(some):
            brightest = 30 if number >= some - 10 else 180 if folder.endswith("a") else 256
            pixels = rng.integers(0, brightest, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number:03d}.png")
    return root


class Scaled(nn.Module):
    """Means of images by how bright their batch is. A tracer leaves out what it does about dark batches: they become infinite."""

    def forward(self, images: Tensor) -> Tensor:
        above = images.amax() + 0.5  # of normalised images
        return torch.cat([images.mean((2, 3)) / (above.relu() if above > 0 else 1.0)] * 2, dim=1)
