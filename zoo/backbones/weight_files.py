"""Reading files of weights: safetensors and torch's own, as timm and torchvision publish them. Nothing in them is executed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import WeightsError

_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where training checkpoints of timm and torchvision keep the weights; averaged ones first, as in timm."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before each name."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, wrappers' prefixes removed.

    Raises: WeightsError if the file is damaged, is not a file of weights, or holds anything but tensors and plain values.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path}: holds no named tensors")
    other = next((name for name, value in content.items() if not isinstance(value, Tensor) or not isinstance(name, str)), None)
    if other is not None:
        raise WeightsError(
            f"{path}: {other!r} is not a tensor but {type(content[other]).__name__}; expected names and tensors only"
        )
    return _without_prefixes(content)


def rename_in_order(state: dict[str, Tensor], network: str, path: Path) -> dict[str, Tensor]:
    """The tensors under the names of timm's `network`, taken one by one in order.

    Raises: WeightsError if there are not as many, or a shape differs.
    """
    with torch.device("meta"):
        wanted = timm.create_model(network, pretrained=False).state_dict()
    if len(state) != len(wanted):
        raise WeightsError(f"{path}: {len(state)} tensors; {network} has {len(wanted)}")
    for (name, tensor), (own, like) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape or name.rpartition(".")[2] != own.rpartition(".")[2]:
            raise WeightsError(f"{path}: tensor {name!r} {tuple(tensor.shape)} is not {own!r} {tuple(like.shape)} of {network}")
    return dict(zip(wanted, state.values(), strict=True))


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: {_what_it_is(path) or f'damaged, or no safetensors file ({error})'}") from error


def _read_torch(path: Path) -> Any:
    try:
        # timm's training checkpoints keep their arguments in a Namespace, which holds plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        reason = _what_it_is(path)
        if reason is None and "weights_only" in str(error) and "GLOBAL" in str(error):
            reason = "refused: it holds Python objects, which could run code; only tensors are read"
        raise WeightsError(f"{path}: {reason or f'damaged, or no file of weights ({type(error).__name__})'}") from error


def _what_it_is(path: Path) -> str | None:
    """What a file that could not be read is instead, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`"
    if start.lstrip().startswith(b"<"):
        return "a web page, not weights; download the file itself"
    return None


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (*_PREFIXES, *_PREFIXES):  # either may be outside
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)
