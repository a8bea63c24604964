"""metrics.jsonl."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Self

from zoo.config import FinetuneConfig
from zoo.training.tracker import Growing, Start, Tracker

log = logging.getLogger("zoo")


class MetricsFile(Tracker):
    """metrics.jsonl: one JSON object an evaluation, written at once. Starts by dropping lines after the `keep`-th, and damaged ones.

    A disk that refuses does not end the run: what could not be written is written when it can be.
    """

    @classmethod
    def begin(cls, folder: Path, config: FinetuneConfig, start: Start) -> Self:
        return cls(folder / "metrics.jsonl", start.evaluations)

    def __init__(self, path: Path, keep: int) -> None:
        lines = _lines(path)[:keep]
        good = [line for line in lines if _is_record(line)]
        if len(good) < keep:
            log.warning("%s: %d of its %d evaluations are missing or damaged; the run goes on", path, keep - len(good), keep)
        self._file = Growing(path, b"".join(good))
        self._failed = False
        self._write()

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


TRACKER = MetricsFile
