"""Workers that die, and workers that would not.

torch notices at once when a worker of a DataLoader dies, and raises wherever the program is at that moment. Here that is heard of only
where a batch is awaited, so that it can be told in one line, and nothing else is torn. And since our workers pass over the signal by
which multiprocessing ends what is left when a program ends, they are killed before it waits for them.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

PATIENCE = 1.0
"""Seconds until a worker that has closed its connection has ended."""
_ours: weakref.WeakSet[BaseProcess] = weakref.WeakSet()
_awaited: Sequence[BaseProcess] = ()
"""Whose batch the main thread waits for."""


class WorkerEnded(Exception):
    """A worker whose batch is awaited has ended."""


class _Hear:
    """What hears that a child has ended; what was there before hears of those that are not our workers."""

    def __init__(self, before: Handler | None) -> None:
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _any_ended(_awaited):
            raise WorkerEnded("a worker has ended")
        if self.before is not None and not _any_ended(list(_ours)):
            self.before(number, frame)


def expect(workers: Sequence[BaseProcess]) -> None:
    """See to it that these do not outlive the program, and that nothing is torn where one dies."""
    _ours.update(workers)
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        found = signal.getsignal(signal.SIGCHLD)
        if not isinstance(found, _Hear):
            signal.signal(signal.SIGCHLD, _Hear(found if callable(found) else None))


@contextlib.contextmanager
def awaited(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """Wait for these in here. Raises: WorkerEnded once one has ended, in the main thread at once, in others after torch's timeout."""
    global _awaited
    if _any_ended(workers):
        raise WorkerEnded("a worker has ended")
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _awaited = workers
    try:
        yield
    finally:
        _awaited = ()


def _any_ended(workers: Sequence[BaseProcess]) -> bool:
    return bool(workers and wait([worker.sentinel for worker in workers], timeout=0))


def ended(workers: Sequence[BaseProcess]) -> dict[int | None, int]:
    """The exit status of each of these that has ended, by its number."""
    gone = wait([worker.sentinel for worker in workers], timeout=PATIENCE)
    for worker in workers:
        if worker.sentinel in gone:
            worker.join(PATIENCE)  # its connection closes a moment before the system has its status
    return {worker.pid: worker.exitcode for worker in workers if worker.exitcode is not None}


def how(code: int) -> str:
    """An exit status for people."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


@atexit.register
def end_workers() -> None:
    """Kill those that are left."""
    for worker in list(_ours):
        if worker.is_alive():
            worker.kill()
