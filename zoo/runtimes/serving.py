"""What a process that has a library for itself does: what it is told, line by line, until its parent goes.

Commands and answers are JSON, a line each, over a socket; samples and rows lie in shared memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from zoo import interrupts
from zoo.runtimes.sessions import OnnxSessions, OpenVinoSessions
from zoo.runtimes.shared import Shared
from zoo.runtimes.tracing import Converter


class Servant(Protocol):
    """Something that has a library."""

    def do(self, command: dict[str, Any], inputs: Shared, outputs: Shared) -> dict[str, Any]:
        """Whatever the command says; its answer."""


SERVANTS: dict[str, Callable[[], Servant]] = {
    "openvino": OpenVinoSessions,
    "onnxruntime": OnnxSessions,
    "converter": Converter,
}


def serve(name: str, channel: int, inputs: int, outputs: int, parent: int) -> None:
    """Do what comes over a socket until it is closed.

    name: of `SERVANTS`; channel, inputs, outputs: inherited descriptors; parent: the process that this one is to end with,
    0 where that is left to the socket.
    """
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    interrupts.let_through()
    if parent:
        _end_with(parent)
    with socket.socket(fileno=channel) as link, contextlib.suppress(ConnectionError):
        shared = Shared(inputs), Shared(outputs)
        for answer in _answers(name, link, *shared):
            link.sendall(json.dumps(answer).encode() + b"\n")


def _answers(name: str, link: socket.socket, inputs: Shared, outputs: Shared) -> Iterator[dict[str, Any]]:
    servant: Servant | None = None
    problem = ""
    try:
        servant = SERVANTS[name]()
    except Exception as error:  # whatever a library that is broken raises where it is imported
        problem = _reason(error)
    with link.makefile("rb") as lines:
        for line in lines:
            if servant is None:
                yield {"error": problem}
                continue
            try:
                yield servant.do(json.loads(line), inputs, outputs)
            except Exception as error:  # the library's own, of as many classes as it has parts
                yield {"error": _reason(error)}


def _reason(error: Exception) -> str:
    """The first line of an error that says something: those of OpenVINO begin with places in its source, which end in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), lines[0] if lines else type(error).__name__)


def _end_with(parent: int) -> None:
    """Have the system kill this process as soon as its parent has gone, also while it is computing, stopped or stuck."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it went before
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """`NAME CHANNEL INPUTS OUTPUTS PARENT`."""
    name, *numbers = arguments
    serve(name, *map(int, numbers))
