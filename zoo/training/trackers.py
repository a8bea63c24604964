"""Where the numbers of a run go: metrics.jsonl always, TensorBoard unless it is switched off, and the terminal."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.errors import OutputError


class Tracker(Protocol):
    """Something that is told of steps and evaluations."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """After an optimiser step: loss, learning rate, samples per second, share of the time waiting for them."""

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """After an evaluation: the whole record."""

    def close(self) -> None:
        """At the end, however it comes."""


class MetricsFile:
    """metrics.jsonl: one JSON object an evaluation, flushed at once. Starts by dropping lines after the `keep`-th."""

    def __init__(self, path: Path, keep: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:keep] if path.is_file() else []
        path.write_text("".join(lines), encoding="utf-8")
        self.path = path

    def step(self, step: int, values: dict[str, float]) -> None:
        """Steps are not written here."""

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """Append the record. Raises: OutputError."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held open."""


class TensorBoard:
    """TensorBoard scalars, in the folder of the run. `purge_step` hides what an interrupted run wrote after it."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self.writer = SummaryWriter(str(folder), purge_step=purge_step or None)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Scalars under `train/`."""
        for name, value in values.items():
            self.writer.add_scalar(f"train/{name}", value, step)

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """Scalars under `val/`."""
        for name, value in record["metrics"].items():
            if value is not None:
                self.writer.add_scalar(f"val/{name}", value, step)
        self.writer.flush()

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()


class Bar(AbstractContextManager["Bar"]):
    """A progress bar over samples on stderr, if that is a terminal; else nothing."""

    def __init__(self, total: int, what: str, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        interactive = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._progress = Progress(*columns, console=Console(file=stream), transient=True, disable=not interactive)
        self._task = self._progress.add_task(what, total=total)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, count)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


class Terminal(AbstractContextManager["Terminal"]):
    """stderr: a progress bar if it is a terminal, else one plain line an evaluation."""

    def __init__(self, total: int, start: int, metric: str, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
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

    def __exit__(self, *exception: object) -> None:
        self.close()
