"""Reasons to stop before the last step, agreed on by all processes: the clock, Ctrl-C, SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Literal

import torch
from accelerate import Accelerator

Reason = Literal["", "time", "interrupt"]


class Stopper(AbstractContextManager["Stopper"]):
    """Turns the first Ctrl-C, and the first SIGTERM, into a reason to stop after the step; the second of a kind acts at once.

    (A launcher of several processes passes Ctrl-C on as SIGTERM, to processes that the terminal has told already.)

    Args:
        max_minutes: limit on the training time, that of earlier sittings (`seconds_before`) included.
    """

    def __init__(self, accelerator: Accelerator, max_minutes: float | None, seconds_before: float) -> None:
        self.accelerator = accelerator
        self.limit = None if max_minutes is None else 60 * max_minutes
        self.seconds_before = seconds_before
        self.began = time.perf_counter()
        self.interrupted = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(number, self.previous[number])

    @property
    def seconds(self) -> float:
        """Wall time of training, earlier sittings included."""
        return self.seconds_before + time.perf_counter() - self.began

    def reason(self) -> Reason:
        """Why to stop after this step, the same on all processes; empty if there is no reason."""
        late = self.limit is not None and self.seconds >= self.limit
        code = 2 if self.interrupted else 1 if late else 0
        if self.accelerator.num_processes > 1:
            codes = self.accelerator.gather(torch.tensor([code], device=self.accelerator.device))
            code = int(codes.max())
        reasons: tuple[Reason, ...] = ("", "time", "interrupt")
        return reasons[code]
