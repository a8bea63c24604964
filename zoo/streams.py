"""What people are shown, on a terminal that may go: lines and a progress bar. No torch here."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class _Lasting:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def lasting(stream: TextIO) -> TextIO:
    """The same stream, to which a terminal or a reader that has gone, or a full disk, is not an error: what cannot be shown is not."""
    return cast(TextIO, _Lasting(stream))


def silence(stream: TextIO) -> None:
    """Let what is still buffered for a reader that has gone vanish without a word: Python would end with a status of its own."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
