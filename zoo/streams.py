"""What people are shown, on a terminal that may go. No torch here."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO, cast


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
