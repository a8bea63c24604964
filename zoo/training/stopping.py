"""Reasons to stop before the last step, agreed on by all processes: the clock, or a signal."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from typing import Literal

import torch
from accelerate import Accelerator

from zoo import interrupts

Reason = Literal["", "time", "interrupt"]


class Stopper(AbstractContextManager["Stopper"]):
    """Lets the step at hand come to its end when a signal asks to stop.

    Args:
        max_minutes: limit on the training time, that of earlier sittings (`seconds_before`) included.
    """

    def __init__(self, accelerator: Accelerator, max_minutes: float | None, seconds_before: float) -> None:
        self.accelerator = accelerator
        self.limit = None if max_minutes is None else 60 * max_minutes
        self.seconds_before = seconds_before
        self.began = time.perf_counter()
        self.signal = 0
        """Number of the signal for which to stop, the same on all processes."""
        self.contexts = ExitStack()

    def __enter__(self) -> Stopper:
        self.contexts.enter_context(interrupts.handled())
        self.contexts.enter_context(interrupts.deferred())
        return self

    def __exit__(self, *exception: object) -> None:
        self.contexts.__exit__(*exception)  # type: ignore[arg-type]

    @property
    def seconds(self) -> float:
        """Wall time of training, earlier sittings included."""
        return self.seconds_before + time.perf_counter() - self.began

    def reason(self) -> Reason:
        """Why to stop after this step, the same on all processes; empty if there is no reason."""
        late = self.limit is not None and self.seconds >= self.limit
        self.signal, stop = interrupts.pending(), int(late)
        if self.accelerator.num_processes > 1:
            codes = self.accelerator.gather(torch.tensor([[self.signal, stop]], device=self.accelerator.device))
            self.signal, stop = codes.amax(dim=0).tolist()
        return "interrupt" if self.signal else "time" if stop else ""
