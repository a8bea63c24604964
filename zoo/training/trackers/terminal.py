"""What a run shows while it trains."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.config import FinetuneConfig
from zoo.streams import lasting
from zoo.training.tracker import Start, Tracker


class Terminal(Tracker):
    """stderr: a progress bar if it is a terminal, else one plain line an evaluation."""

    @classmethod
    def begin(cls, folder: Path, config: FinetuneConfig, start: Start) -> Self | None:
        return None if start.total is None else cls(start.total, start.step, start.metric)

    def __init__(self, total: int, start: int, metric: str, stream: TextIO | None = None) -> None:
        self.stream = lasting(stream or sys.stderr)
        self.metric = metric
        self.latest = ""
        interactive = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.progress = self._bar(total, start) if interactive else None

    def _bar(self, total: int, start: int) -> Progress:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(file=self.stream), transient=True)
        self.task = progress.add_task("training", total=total, completed=start, numbers="")
        progress.start()
        return progress

    def step(self, step: int, values: dict[str, float]) -> None:
        """Move the bar."""
        if self.progress:
            speed = f"{values['samples_per_second']:.0f} samples/s, {values['waiting']:.0%} waiting for data"
            numbers = f"loss {values['loss']:.4f}  {speed}{self.latest}"
            self.progress.update(self.task, completed=step, numbers=numbers)

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """One line, above the bar where there is one."""
        value = record["metrics"].get(self.metric)
        shown = "undefined" if value is None else f"{value:.4f}"
        mark = "  best" if record["best"] else ""
        self.latest = f"  {self.metric} {shown}"
        loss = "" if record["train_loss"] is None else f"  loss {record['train_loss']:.4f}"
        line = (
            f"epoch {record['epoch']:g}  step {step}{loss}  val {self.metric} {shown}"
            f"  {record['samples_per_second']:.0f} samples/s ({record['waiting']:.0%} waiting for data)  {record['seconds']:.0f} s{mark}"
        )
        if self.progress:
            self.progress.console.print(line, highlight=False)
        else:
            print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.progress:
            self.progress.stop()


TRACKER = Terminal
