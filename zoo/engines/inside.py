"""torch itself, in this process: as it is, and compiled."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.engines.base import Engine, detached
from zoo.errors import ConfigError, EngineFailed, first_line

_DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine(Engine):
    """The network run by torch under `torch.inference_mode`, on a CPU or a GPU."""

    name = "torch"

    def __init__(self, module: Any, batch_size: int, device: torch.device, channels_last: bool, precision: str) -> None:
        """module: a `detached` network on `device`, or such a one compiled."""
        super().__init__(batch_size)
        self.version = f"torch {torch.__version__}" + ("" if precision == "no" else f" {precision}")
        self._module = module
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._precision = precision

    def _run(self, images: Tensor) -> NDArray[np.float32]:
        if self._device.type == "cuda":  # from pinned memory, the copy leaves the CPU free
            images = images.pin_memory()
        with torch.inference_mode(), self._autocast():
            rows: Tensor = self._module(images.to(self._device, non_blocking=True, memory_format=self._format))
        array: NDArray[np.float32] = rows.float().cpu().numpy()
        return array

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = _DTYPES[self._precision]
        return contextlib.nullcontext() if dtype is None else torch.autocast(self._device.type, dtype)


class CompiledEngine(TorchEngine):
    """The same under `torch.compile`, compiled for one shape."""

    name = "compile"

    def _run(self, images: Tensor) -> NDArray[np.float32]:
        try:
            return super()._run(images)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # Inductor raises its own classes, the C++ compiler's, and whatever its templates meet
            raise EngineFailed(f"the engine compile failed: {first_line(error)}") from error


def prepare(net: nn.Module, example: Tensor, device: torch.device, channels_last: bool, precision: str) -> TorchEngine:
    """torch's engine for batches of `example`'s size. It shares memory with `net`: it answers for weights that do not change."""
    twin = detached(net, device, torch.channels_last if channels_last else torch.contiguous_format)
    return TorchEngine(twin, len(example), device, channels_last, precision)


def compiled(net: nn.Module, example: Tensor, device: torch.device, channels_last: bool, precision: str) -> CompiledEngine:
    """As `prepare`, compiled: the compilation runs here, not at the first call. Raises: ConfigError if there is no compiling it."""
    twin = detached(net, device, torch.channels_last if channels_last else torch.contiguous_format)
    engine = CompiledEngine(torch.compile(twin, dynamic=False), len(example), device, channels_last, precision)
    try:
        engine(example)
    except EngineFailed as error:
        raise ConfigError(
            f"torch.compile cannot compile this network: {first_line(error.__cause__ or error)}; use the engine torch"
        ) from error
    return engine
