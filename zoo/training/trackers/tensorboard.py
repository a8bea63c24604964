"""TensorBoard."""

from __future__ import annotations

import io
import itertools
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any, Self

from zoo.config import FinetuneConfig
from zoo.training.tracker import Growing, Start, Tracker

log = logging.getLogger("zoo")

_numbers = itertools.count()


class TensorBoard(Tracker):
    """TensorBoard scalars, in the folder of the run. `purge_step` hides what an interrupted run wrote after it.

    The library's writer has a thread, which ends in a traceback where the disk refuses; here, what was gathered is written at each
    evaluation, and every `SECONDS`. What cannot be written is said, and the run goes on without.
    """

    SECONDS = 30.0

    @classmethod
    def begin(cls, folder: Path, config: FinetuneConfig, start: Start) -> Self | None:
        return cls(folder / "tensorboard", start.step) if config.output.tensorboard else None

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


TRACKER = TensorBoard
