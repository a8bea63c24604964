"""The engines by name: torch in this process, as it is or compiled, and libraries in processes of their own."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo import upstream
from zoo.engines import conversions
from zoo.engines.conversions import BY_NAME
from zoo.engines.engine import Engine, detached
from zoo.errors import ConfigError, EngineFailed, UnknownName, first_line
from zoo.runtimes.libraries import TITLES, installed_version
from zoo.runtimes.process import RuntimeProcess

_DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = ("torch", "compile", "onnxruntime", "openvino")
"""Every engine."""
VARYING = ("torch", "openvino")
"""Those that take batches of any length."""
PRECISIONS = {
    "torch": ("no", "bf16", "fp16"),
    "compile": ("no", "bf16", "fp16"),
    "onnxruntime": ("no",),
    "openvino": ("no", "bf16"),
}
"""What each can compute in: fp32 (`no`) and others."""
_NEEDS = {"torch": (), "compile": (), "onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
INSTALL = "pip install 'zoo-finetune[cpu]'"
"""What brings the engines that need libraries of their own."""


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


def prepare_apart(name: str, net: nn.Module, example: Tensor, folder: Path | None, varying: bool, precision: str) -> ApartEngine:
    """The engine for batches of `example`'s shape (but for the last dimension, if it is `varying`), converted unless `folder` has it.

    Raises: ConfigError if the network cannot be converted; EngineFailed; OutputError if the folder cannot be written.
    """
    conversion = conversions.BY_NAME[name]
    runtime = RuntimeProcess(name)  # imports its library meanwhile
    title = conversion.title(example, varying)
    with conversions.converted_files(folder, title, lambda into: conversion.convert(net, example, into)) as found:
        return ApartEngine(runtime, found / conversion.file, example, varying=varying, precision=precision)


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


def prepare_torch(net: nn.Module, example: Tensor, device: torch.device, channels_last: bool, precision: str) -> TorchEngine:
    """torch's engine for batches of `example`'s size. It shares memory with `net`: it is for weights that do not change."""
    twin = detached(net, device, torch.channels_last if channels_last else torch.contiguous_format)
    return TorchEngine(twin, len(example), device, channels_last, precision)


def prepare_compiled(
    net: nn.Module, example: Tensor, device: torch.device, channels_last: bool, precision: str
) -> CompiledEngine:
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


def among(name: str, possible: tuple[str, ...] | None, nouns: str) -> str:
    """`name`, or what `auto` comes down to where few engines are possible. Raises: ConfigError if it is none of them."""
    if possible is None or name in possible:
        return name
    if name != "auto":
        raise ConfigError(f"the engine {name} cannot run networks for {nouns}; use {' or '.join(possible)}")
    return possible[0] if len(possible) == 1 else name


def installed() -> list[str]:
    """The engines whose libraries are here, in the order of `NAMES`; none is imported."""
    return [name for name in NAMES if not _missing(name)]


def require(name: str, device: torch.device, precision: str, varying: bool = False) -> None:
    """Raises: UnknownName; ConfigError for an engine that is not installed, or does not run there, at that precision, or on samples that
    vary in length."""
    if name not in NAMES:
        raise UnknownName("engine", name, NAMES)
    if varying and name not in VARYING:
        raise ConfigError(
            f"the engine {name} is made for one shape, and these samples differ in length; use {' or '.join(VARYING)}"
        )
    if name in ("torch", "compile"):
        return
    if device.type != "cpu":
        raise ConfigError(f"the engine {name} runs on a CPU, the device is {device.type}; use torch or compile")
    if not computes_in(precision, name):
        here = " on this processor" if precision in PRECISIONS[name] else ""
        raise ConfigError(f"the engine {name} computes in fp32{here}, the precision is {precision}; use precision no, or torch")
    if missing := _missing(name):
        raise ConfigError(f"the engine {name} needs {', '.join(missing)}, not installed here: {INSTALL}")


def has_bf16() -> bool:
    """Whether the CPU multiplies in bf16 (AVX512-BF16 or AMX)."""
    return upstream.has_bf16_arithmetic()


def computes_in(precision: str, name: str) -> bool:
    """Whether the engine has this precision on this machine; torch and what it compiles emulate what the processor has not."""
    return precision in PRECISIONS[name] and (precision == "no" or name in ("torch", "compile") or has_bf16())


def _missing(name: str) -> list[str]:
    return [module for module in _NEEDS[name] if find_spec(module) is None]


def prepare(
    name: str,
    net: nn.Module,
    example: Tensor,
    *,
    device: torch.device,
    channels_last: bool,
    precision: str,
    folder: Path | None,
    varying: bool = False,
) -> Engine:
    """An engine for batches of `example`'s shape and type, such as `[B, 3, S, S]`, on the CPU. `net` is left as it is, in every respect.

    net: gives one tensor `[B, ...]`; its weights stay as they are while the engine is used.
    channels_last: of torch and compile; the others have a layout of their own.
    precision: `no` (fp32), or another that the engine has (`PRECISIONS`).
    folder: keeps the converted network, and belongs to this network alone: what it holds is not compared with `net`'s weights.

    varying: the last dimension differs from batch to batch (the tokens of texts).

    Raises: UnknownName; ConfigError for an engine that is not installed, not for this device or precision, or cannot take the
    network or samples that vary; EngineFailed; OutputError if `folder` cannot be written.
    """
    require(name, device, precision, varying)
    if name in BY_NAME:
        return prepare_apart(name, net, example, folder, varying, precision)
    make = prepare_compiled if name == "compile" else prepare_torch
    return make(net, example, device, channels_last, precision)


def is_converted(name: str, example: Tensor, folder: Path | None, varying: bool = False) -> bool:
    """Whether `folder` has what `prepare` would otherwise convert; it may turn out to be damaged."""
    return folder is not None and name in BY_NAME and (folder / BY_NAME[name].title(example, varying)).is_dir()
