"""A progress bar."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.streams import lasting


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
