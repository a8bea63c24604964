"""What a tracker is."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from zoo.config import FinetuneConfig


@dataclass(frozen=True)
class Start:
    """Where a run is that starts, or goes on."""

    metric: str
    """Name of the metric that decides which model is best."""
    total: int | None = None
    """Steps of the whole run; None: it takes none, as its head is solved."""
    step: int = 0
    """Steps that were made before; what an interrupted run told of later ones is void."""
    evaluations: int = 0
    """Evaluations that were made before."""


class Tracker(ABC):
    """Something that is told of steps and evaluations."""

    @classmethod
    @abstractmethod
    def begin(cls, folder: Path, config: FinetuneConfig, start: Start) -> Self | None:
        """One for the run in this folder; None where it is not wanted."""

    def step(self, step: int, values: dict[str, float]) -> None:  # noqa: B027 - some mind evaluations alone
        """After an optimiser step: loss, learning rate, samples per second, share of the time waiting for them."""

    @abstractmethod
    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """After an evaluation: the whole record, as a line of metrics.jsonl has it."""

    def close(self) -> None:  # noqa: B027 - some have nothing to end
        """At the end, however it comes."""


class Growing:
    """A file that only grows. What cannot be appended waits for the next time, which also clears what it left half written."""

    def __init__(self, path: Path, content: bytes = b"") -> None:
        """content: what the file begins with; what else is in it goes when something is appended."""
        self.path = path
        self.size, self.waiting = 0, content
        with contextlib.suppress(OSError):
            if path.read_bytes()[: len(content)] == content:
                self.size, self.waiting = len(content), b""

    def append(self, content: bytes = b"") -> None:
        """Write it, and what waits. Raises: OSError."""
        self.waiting += content
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            self.size = min(self.size, file.seek(0, os.SEEK_END))
            file.seek(self.size)
            file.write(self.waiting)
            file.truncate()  # the torn end of what failed before
            file.flush()
            os.fsync(file.fileno())  # a checkpoint, which is flushed, counts on it
        self.size, self.waiting = self.size + len(self.waiting), b""
