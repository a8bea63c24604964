"""The digest that ties an adapter's file to the weights it was trained on."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from zoo.backbones.unfilled import is_unfilled


def digest(net: nn.Module) -> str:
    """sha256 over the tensors of a network's state, sorted by name: of each its name, dtype, shape and bytes.

    On torch's meta device, where there are no values, without the bytes; of values that are to come (`unfilled`), empty.
    """
    if is_unfilled():
        return ""
    total = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if not tensor.is_meta:
            total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
