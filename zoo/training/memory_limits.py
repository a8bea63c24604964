"""Steps that do not fit into memory: tried again in halves of their micro-batches, so that batch size, learning rate and order stay."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields

import torch
from accelerate import Accelerator
from torch import Tensor

from zoo import memory
from zoo.adaptation.model import AdaptedModel
from zoo.data.loading.loaders import Batch
from zoo.errors import RunFailed, first_line, ran_out_of_memory
from zoo.training.checkpoint import TrainState

log = logging.getLogger("zoo")


def split(batches: Sequence[Batch], parts: int) -> list[Batch]:
    """Each micro-batch in so many parts of nearly equal size, in order; in fewer where it has fewer samples."""
    return [part for batch in batches for part in _parts(batch, min(parts, len(batch.indices)))]


def _parts(batch: Batch, count: int) -> list[Batch]:
    pieces = [torch.tensor_split(getattr(batch, field.name), count) for field in fields(batch)]
    return [Batch(*piece) for piece in zip(*pieces, strict=True)]


class Fitting:
    """Tries a step until it fits. What was found is in the state, and so in checkpoints: a resumed run splits alike."""

    def __init__(self, model: AdaptedModel, accelerator: Accelerator, state: TrainState, least: int) -> None:
        """least: samples that a micro-batch must have: two where batch norm is live."""
        self.model, self.accelerator, self.state, self.least = model, accelerator, state, least

    def __call__(self, batches: Sequence[Batch], step: Callable[[list[Batch]], tuple[float, float]]) -> tuple[float, float]:
        """What `step` gives for the micro-batches, or for parts of them. Raises: RunFailed if they cannot be smaller."""
        while True:
            kept = self._statistics()
            parts = split(batches, self.state.split)
            result = self._tried(parts, step)
            if not isinstance(result, str):
                return result
            for buffer, values in kept:
                buffer.copy_(values)
            self._halve(max(len(one.indices) for one in parts), result)

    def _tried(self, parts: list[Batch], step: Callable[[list[Batch]], tuple[float, float]]) -> tuple[float, float] | str:
        """The result; where memory ran out, how that was said. On return nothing holds on to what the step had computed."""
        try:
            return step(parts)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            if self.accelerator.num_processes > 1:  # the others wait for its gradients
                raise RunFailed(
                    f"process {self.accelerator.process_index + 1} ran out of memory; raise --accumulate, lower --batch-size, or use "
                    "--gradient-checkpointing"
                ) from error
            said = first_line(error)
        self.model.zero_grad(set_to_none=True)
        return said

    def _halve(self, size: int, said: str) -> None:
        memory.give_back()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = -(-size // 2)
        if size == 1 or size // 2 < self.least:
            samples = "1 sample" if size == 1 else f"{size} samples"
            raise RunFailed(
                f"memory ran out with micro-batches of {samples} ({said}); use --gradient-checkpointing, a "
                "smaller --image-size or --max-length, or a strategy that trains less (lora:8, partial:1)"
            )
        self.state.split *= 2
        changed = ", whose batch norm takes its statistics from each, so that the result is another" if self.least > 1 else ""
        log.warning(
            "memory ran out with micro-batches of %d samples: it goes on with %d%s (--accumulate %d asks for that from the start)",
            size, smaller, changed, self.state.split,
        )  # fmt: skip

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """The buffers that a forward pass moves, with copies of their values."""
        if self.least == 1:
            return []
        buffers = dict(self.model.named_buffers())
        return [(buffers[name], buffers[name].clone()) for name in self.model.plan.buffers if name in buffers]
