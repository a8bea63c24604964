"""Where the numbers of a run go: metrics.jsonl always, TensorBoard unless it is switched off, and the terminal."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import platform
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.streams import lasting

log = logging.getLogger("zoo")

_numbers = itertools.count()


class Tracker(Protocol):
    """Something that is told of steps and evaluations."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """After an optimiser step: loss, learning rate, samples per second, share of the time waiting for them."""

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """After an evaluation: the whole record."""

    def close(self) -> None:
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


class MetricsFile:
    """metrics.jsonl: one JSON object an evaluation, written at once. Starts by dropping lines after the `keep`-th, and damaged ones.

    A disk that refuses does not end the run: what could not be written is written when it can be.
    """

    def __init__(self, path: Path, keep: int) -> None:
        lines = _lines(path)[:keep]
        good = [line for line in lines if _is_record(line)]
        if len(good) < keep:
            log.warning("%s: %d of its %d evaluations are missing or damaged; the run goes on", path, keep - len(good), keep)
        self._file = Growing(path, b"".join(good))
        self._failed = False
        self._write()

    def step(self, step: int, values: dict[str, float]) -> None:
        """Steps are not written here."""

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """Append the record."""
        self._write(json.dumps(record).encode() + b"\n")

    def close(self) -> None:
        """Try once more what could not be written."""
        if self._file.waiting:
            self._write()
        if missing := self._file.waiting.count(b"\n"):
            log.warning("%s: the last %d evaluations are not in it", self._file.path, missing)

    def _write(self, line: bytes = b"") -> None:
        try:
            self._file.append(line)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s cannot be written: %s; training goes on, and tries again", self._file.path, error.strerror)
            self._failed = True


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []


def _is_record(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class TensorBoard:
    """TensorBoard scalars, in the folder of the run. `purge_step` hides what an interrupted run wrote after it.

    The library's writer has a thread, which ends in a traceback where the disk refuses; here, what was gathered is written at each
    evaluation, and every `SECONDS`. What cannot be written is said, and the run goes on without.
    """

    SECONDS = 30.0

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        # TensorBoard reads the files of a folder in the order of their names: two of one second are told apart.
        name = f"events.out.tfevents.{time.time():017.6f}.{platform.node()}.{os.getpid()}.{next(_numbers)}"
        self._file: Growing | None = Growing(folder / name)
        self._gathered = io.BytesIO()
        self._records = RecordWriter(self._gathered)
        self._add(file_version="brain.Event:2", step=purge_step)
        if purge_step:
            self._add(session_log=SessionLog(status=SessionLog.START), step=purge_step)
        self._write()

    def step(self, step: int, values: dict[str, float]) -> None:
        """Scalars under `train/`."""
        self._scalars("train", step, values)
        if time.monotonic() - self._written > self.SECONDS:
            self._write()

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """Scalars under `val/`."""
        self._scalars("val", step, {name: value for name, value in record["metrics"].items() if value is not None})
        self._write()

    def close(self) -> None:
        """Write what was gathered."""
        self._write()

    def _scalars(self, group: str, step: int, values: dict[str, float]) -> None:
        found = [self._summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in values.items()]
        self._add(summary=self._summary(value=found), step=step)

    def _add(self, **what: Any) -> None:
        if self._file is not None:
            self._records.write(self._event(wall_time=time.time(), **what).SerializeToString())

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._file is None:
            return
        try:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.append(self._gathered.getvalue())
        except OSError as error:
            log.warning("%s cannot be written: %s; the run goes on without TensorBoard", self._file.path, error.strerror)
            self._file = None
        self._gathered.seek(0)
        self._gathered.truncate()


class Bar(AbstractContextManager["Bar"]):
    """A progress bar over samples on stderr, if that is a terminal; else nothing."""

    def __init__(self, total: int, what: str, stream: TextIO | None = None) -> None:
        stream = lasting(stream or sys.stderr)
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

    def __exit__(self, *exception: object) -> None:
        self.close()
