"""A library in a process of its own, seen from the process that started it.

It is started, not forked: it shares nothing with this one but a socket and two pieces of memory, and imports nothing of the program that
uses zoo. Whatever ends it, or keeps it from responding, is an `EngineFailed` here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo import interrupts
from zoo.errors import EngineFailed, first_line
from zoo.runtimes.libraries import Shared

FIRST = 600.0
"""Seconds that importing, converting, compiling or the first batch may take."""
LEAST = 60.0
"""Seconds that any later batch may take at least."""
TIMES = 20
"""Times as many seconds as the slowest batch so far took, another may take."""


class RuntimeProcess:
    """A process that has one library. A context: it ends with it, or with the last reference, or with this process, however that ends."""

    def __init__(self, name: str, *, title: str | None = None) -> None:
        """Start it; it imports its library while this process goes on.

        name: of `zoo.runtimes.serving.SERVANTS`; title: what messages call it.
        Raises: EngineFailed.
        """
        self.name, self._title = name, title or name
        self._slowest: float | None = None
        self._count, self._sessions = 0, set[int]()
        self._unread = b""
        self._inputs, self._outputs = Shared(), Shared()
        self._link, far = socket.socketpair()
        self._link.settimeout(1.0)
        with far:
            self._process = self._started(far)
        files = (self._inputs.file, self._outputs.file)
        self._end = weakref.finalize(self, _end, self._process, self._link, files, os.getpid())

    def _started(self, far: socket.socket) -> subprocess.Popen[bytes]:
        # The system kills it when the *thread* that started it ends: of a thread that is not the main one, only the socket tells.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        files = (far.fileno(), self._inputs.file, self._outputs.file)
        path = os.pathsep.join(str(entry or Path.cwd()) for entry in sys.path)
        try:
            with interrupts.withheld():
                return subprocess.Popen(  # noqa: S603 - our own
                    [sys.executable, "-P", "-m", "zoo.runtimes", self.name, *map(str, files), str(parent)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=files,
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,  # a Ctrl-C is for this process
                )
        except (OSError, ValueError) as error:  # the latter where descriptors cannot be inherited
            raise EngineFailed(f"the engine {self._title} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self) -> RuntimeProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()

    def load(self, path: str, shape: Sequence[int], *, threads: int, varying: bool = False, precision: str = "no") -> int:
        """Have it make a converted network ready for samples of a shape, and give the number by which `run` knows it."""
        number = self._count
        self._count += 1
        self.ask("load", session=number, path=path, shape=list(shape), threads=threads, varying=varying, precision=precision)
        self._sessions.add(number)
        self._slowest = None
        return number

    def drop(self, session: int) -> None:
        """Have it forget a network. With the last of them it ends."""
        self._sessions.discard(session)
        if not self._sessions:
            self.close()
        elif self._end.alive:
            with contextlib.suppress(EngineFailed):  # whoever runs another will hear of it
                self.ask("drop", session=session)

    def run(self, session: int, samples: NDArray[Any]) -> NDArray[np.float32]:
        """The rows of samples, in memory of their own. Raises: EngineFailed."""
        limit = FIRST if self._slowest is None else max(LEAST, TIMES * self._slowest)
        began = time.monotonic()
        try:
            self._inputs.array(samples.shape, samples.dtype)[...] = samples
            response = self.ask("run", limit, session=session, shape=samples.shape, dtype=samples.dtype.name)
            rows: NDArray[np.float32] = self._outputs.array(response["shape"], np.float32).copy()
        except OSError as error:
            raise EngineFailed(f"the engine {self._title} has no memory for its samples: {first_line(error)}") from error
        self._slowest = max(self._slowest or 0.0, time.monotonic() - began)
        return rows

    @property
    def inputs(self) -> Shared:
        """Memory for what `ask` is about."""
        return self._inputs

    def ask(self, what: str, limit: float = FIRST, **said: Any) -> dict[str, Any]:
        """Its response to a command, within so many seconds. Raises: EngineFailed, after which the process is no more, unless it has
        responded that it cannot."""
        if not self._end.alive:
            raise EngineFailed(f"the engine {self._title} has ended")
        try:
            self._link.sendall(json.dumps({"do": what, **said}).encode() + b"\n")
            response: dict[str, Any] = json.loads(self._line(limit))
        except OSError as error:
            raise EngineFailed(self._ended()) from error
        except BaseException:  # a response may still come, to a question that nobody asks any more
            self.close()
            raise
        if "error" in response:
            raise EngineFailed(f"the engine {self._title} failed: {response['error']}")
        return response

    def _line(self, limit: float) -> bytes:
        """Raises: ConnectionError if the process has gone; EngineFailed if it says nothing."""
        for _ in range(math.ceil(limit)):  # many short waits: time in which this process was stopped is not to be counted
            with contextlib.suppress(TimeoutError):
                while not self._unread.endswith(b"\n"):
                    received = self._link.recv(65536)
                    if not received:
                        raise ConnectionResetError
                    self._unread += received
                line, self._unread = self._unread, b""
                return line
        raise EngineFailed(f"the engine {self._title} has not responded for {limit:.0f} s")

    def _ended(self) -> str:
        """What became of the process, whose socket is closed."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            how = "closed its connection"
        else:
            how = f"was ended by {_signal(-status)}" if status < 0 else f"ended with status {status}"
        self.close()
        return f"the engine {self._title} {how}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of real time
        return f"signal {number}"


def _end(process: subprocess.Popen[bytes], link: socket.socket, files: Sequence[int], owner: int) -> None:
    """Kill it: it has nothing to lose. Not from a forked process, to which it does not belong."""
    link.close()
    for file in files:
        os.close(file)
    if os.getpid() == owner:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the system does not let go of it
            process.wait(10)
