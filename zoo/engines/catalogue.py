"""The engines by name: which there are, which are installed, and making one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo import upstream
from zoo.engines import apart, inside
from zoo.engines.base import Engine
from zoo.engines.conversions import BY_NAME
from zoo.errors import ConfigError, UnknownName

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
        return apart.prepare(name, net, example, folder, varying, precision)
    make = inside.compiled if name == "compile" else inside.prepare
    return make(net, example, device, channels_last, precision)


def is_converted(name: str, example: Tensor, folder: Path | None, varying: bool = False) -> bool:
    """Whether `folder` has what `prepare` would otherwise convert; it may turn out to be damaged."""
    return folder is not None and name in BY_NAME and (folder / BY_NAME[name].title(example, varying)).is_dir()
