"""Proof that what is frozen rests, and that what trains does (DESIGN rules 1 and 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.adaptation.model import AdaptedModel, first_of
from zoo.errors import AuditFailed


def digests(model: nn.Module) -> dict[str, str]:
    """sha256 of every parameter and buffer by name, non-persistent buffers included: of dtype, shape and bytes."""
    return {name: _digest(tensor) for name, tensor in _tensors(model)}


def frozen_digests(model: AdaptedModel) -> dict[str, str]:
    """As `digests`, of what is outside `trained_state()`."""
    trained = {*model.plan.tensors, *model.plan.buffers}
    return {name: _digest(tensor) for name, tensor in _tensors(model) if name not in trained}


def check_frozen(model: AdaptedModel, before: Mapping[str, str]) -> None:
    """Compare with what `frozen_digests` gave before training.

    Raises: AuditFailed naming the tensors whose bytes differ, that are gone, or that are new.
    """
    after = frozen_digests(model)
    moved = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if moved:
        raise AuditFailed(
            f"{len(moved)} frozen tensors changed in training under {model.plan.strategy}: {first_of(moved)}; "
            "the result is not what the strategy says"
        )


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _digest(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    known = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    known.update(flat.view(torch.uint8).numpy().data)
    return known.hexdigest()


class GradientAudit:
    """Watches the gradients of the first steps (of a phase, where the plan has phases): every tensor that trains has had a finite,
    non-zero one within `STEPS`, and no other has one.

    Three, because a gradient may need that long to arrive: with a zero head, the head alone has one on the first step, LoRA's B
    on the second (as the head was zero), its A on the third (as B was zero).
    """

    STEPS = 3

    def __init__(self, model: AdaptedModel) -> None:
        self.steps = 0
        """Steps observed so far."""
        self._plan = model.plan
        trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._active = trains.intersection(model.plan.tensors)
        self._waiting = dict.fromkeys(name for name in model.plan.tensors if name in self._active)

    def observe(self, model: AdaptedModel) -> bool:
        """Look at the gradients of one step, between backward and zero_grad, if its update was not skipped.

        model: unwrapped. One transfer from the device a call; none once `STEPS` have been seen.
        Gives whether they have, so that `conclude` can judge. Raises: AuditFailed if a tensor that does not train has a gradient.
        """
        if self.steps >= self.STEPS:
            return True
        self.steps += 1
        parameters = dict(model.named_parameters())
        strays = [name for name, one in parameters.items() if one.grad is not None and name not in self._active]
        if strays:
            raise AuditFailed(f"frozen tensors have gradients under {self._plan.strategy}: {first_of(strays)}")
        gradients = {name: parameters[name].grad for name in self._waiting if name in parameters}
        found = {name: gradient for name, gradient in gradients.items() if gradient is not None and gradient.numel()}
        if found:
            largest = torch.stack([gradient.detach().abs().amax().float() for gradient in found.values()]).tolist()
            for name, value in zip(found, largest, strict=True):
                if 0 < value < float("inf"):
                    del self._waiting[name]
        return self.steps >= self.STEPS

    def conclude(self) -> None:
        """Judge, once three steps have been seen; before, nothing is said.

        Raises: AuditFailed naming the tensors of the plan that never had a finite, non-zero gradient.
        """
        if self.steps >= self.STEPS and self._waiting:
            raise AuditFailed(
                f"{len(self._waiting)} of {len(self._plan.tensors)} tensors that {self._plan.strategy} should train had no "
                f"finite, non-zero gradient in {self.STEPS} steps: {first_of(self._waiting)}; the network does not use them"
            )
