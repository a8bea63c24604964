"""Which arithmetic a device can do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import get_args

import torch

from zoo.config import options
from zoo.engines.catalogue import has_bf16
from zoo.errors import ConfigError, UnknownName

log = logging.getLogger("zoo")

DEVICES = get_args(options()["device"].type)
"""What `--device` takes."""


def resolve_device(asked: str) -> torch.device:
    """`auto` is a GPU of CUDA if there is one, else the CPU.

    Raises: ConfigError for another name, or if a GPU was asked for and there is none.
    """
    if asked not in DEVICES:
        raise UnknownName("device", asked, DEVICES)
    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: this torch sees no GPU; use --device cpu, or check the driver with `nvidia-smi`")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device mps: this torch sees no GPU of Apple's; use --device cpu")
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(asked)


def resolve_precision(asked: str, device: torch.device) -> str:
    """`no` (fp32), `fp16` or `bf16`, none of which the device merely emulates, unless bf16 was asked for by name.

    Accelerate runs fp16 on a CPU silently in fp32; here it is an error. bf16 on a CPU without such instructions is several times
    slower than fp32 (measured: 6 to 10 times on AVX2), so it is only warned about. Raises: ConfigError.
    """
    in_hardware = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        in_hardware = has_bf16()
    if asked == "auto":
        return "bf16" if in_hardware else "no"
    if asked == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU use --precision no, or bf16 where it has AVX512-BF16 or AMX")
    if asked == "bf16" and not in_hardware:
        log.warning("precision bf16: this %s has no bf16 instructions, expect several times the time of fp32", device.type)
    return asked


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """In here float32 has its 24 bits on a GPU too.

    By default torch lets convolutions round their inputs to TF32, of 11 bits, and a program may have allowed it for matrix products:
    logits of one network then differ by a thousandth of the largest from one batch size to another (measured, H100), while features that
    are kept are taken for those of any device.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.allow_tf32
    flags = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    with cudnn.flags(**flags, allow_tf32=False):
        matmul.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32 = before
