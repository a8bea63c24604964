"""Engines of a library in a process of its own, for networks that are converted here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.engines import conversions, converted
from zoo.engines.base import Engine
from zoo.runtimes.libraries import TITLES, installed_version
from zoo.runtimes.process import RuntimeProcess


class ApartEngine(Engine):
    """The network run by a library."""

    def __init__(self, runtime: RuntimeProcess, path: Path, example: Tensor, *, varying: bool, precision: str) -> None:
        """path: of the network, converted for that library; varying: the last dimension may be of any length."""
        super().__init__(len(example))
        self.name = runtime.name
        self.version = f"{TITLES[self.name]} {installed_version(self.name)}, torch {torch.__version__}"
        self.version += "" if precision == "no" else f" {precision}"
        self._runtime = runtime
        threads = torch.get_num_threads()
        self._session = runtime.load(str(path), example.shape, threads=threads, varying=varying, precision=precision)

    def close(self) -> None:
        """Have the library forget it; the process ends with its last network."""
        self._runtime.drop(self._session)

    def _run(self, images: Tensor) -> NDArray[np.float32]:
        return self._runtime.run(self._session, images.detach().numpy())


def prepare(name: str, net: nn.Module, example: Tensor, folder: Path | None, varying: bool, precision: str) -> ApartEngine:
    """The engine for batches of `example`'s shape (but for the last dimension, if it is `varying`), converted unless `folder` has it.

    Raises: ConfigError if the network cannot be converted; EngineFailed; OutputError if the folder cannot be written.
    """
    conversion = conversions.BY_NAME[name]
    runtime = RuntimeProcess(name)  # imports its library meanwhile
    title = conversion.title(example, varying)
    with converted.files(folder, title, lambda into: conversion.convert(net, example, into)) as found:
        return ApartEngine(runtime, found / conversion.file, example, varying=varying, precision=precision)
