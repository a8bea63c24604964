"""The digest that ties an adapter's file to the weights it was trained on.

Networks whose values are read from a file afterwards are made inside `unfilled`: drawing random values takes longer than reading a file
of them, and such a network has no digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}
"""What draws values, or makes those of a truncated normal distribution of them: torch, timm and transformers do it by these."""
_unfilled = ContextVar("unfilled", default=False)


class _NothingDrawn(TorchFunctionMode):
    """Leaves parameters as they are where values would be drawn for them. Buffers, which a file need not hold, are drawn."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        tensor = args[0] if args else named.get("tensor")
        if function in _DRAWS and isinstance(tensor, nn.Parameter):
            return tensor
        return function(*args, **named)


@contextmanager
def unfilled() -> Iterator[None]:
    """Inside, `random` weights are whatever lies in memory, and have no digest."""
    before = _unfilled.set(True)
    try:
        with _NothingDrawn():
            yield
    finally:
        _unfilled.reset(before)


def is_unfilled() -> bool:
    """Whether this is inside of `unfilled`."""
    return _unfilled.get()


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
