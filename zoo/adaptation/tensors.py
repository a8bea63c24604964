"""Put saved tensors into a model, exactly: nothing missing, nothing over, every shape right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from zoo.errors import CheckpointError


@torch.no_grad()
def fill(into: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into the tensors of the same names, in place; values take the model's dtype and device.

    Nothing is copied unless everything fits. Raises: CheckpointError naming `source` and the first tensors that do not.
    """
    if missing := [name for name in into if name not in state]:
        raise CheckpointError(f"{source}: tensors are missing: {some(missing)}; it belongs to another model or is incomplete")
    if unexpected := [name for name in state if name not in into]:
        raise CheckpointError(f"{source}: unexpected tensors: {some(unexpected)}; it belongs to another model")
    for name, tensor in into.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(
                f"{source}: tensor {name} has shape {list(state[name].shape)}, the model's has {list(tensor.shape)}; "
                "it belongs to another model"
            )
    for name, tensor in into.items():
        tensor.copy_(state[name])


def some(names: Iterable[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")
