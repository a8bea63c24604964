"""Signals that ask this process to stop: Ctrl-C, SIGTERM (`timeout`, service managers), SIGHUP (the terminal has gone). No torch here.

The first raises `Stopped` at once, or where `deferred` work reaches a point at which it can stop. The second raises at once everywhere,
and the third of a kind is the system's. A signal that was ignored when zoo began (by nohup) stays so.

While a module is imported, the first waits for the end of that: an exception in the midst of an extension's C++ aborts the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal ended what was being done. The exit status is 128 and its number."""

    def __init__(self, number: int, where: str = "", hint: str = "") -> None:
        """
        Args:
            number: of the signal.
            where: how far it came: `at step 12`.
            hint: how to go on: "go on with `zoo resume runs/x`".
        """
        super().__init__()
        self.number, self.where, self.hint = number, where, hint

    @property
    def exit_status(self) -> int:
        """As of a program that the signal ends."""
        return 128 + self.number

    def __str__(self) -> str:
        by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
        where = f" {self.where}" if self.where else ""
        return f"stopped{by}{where}{f'; {self.hint}' if self.hint else ''}"


@dataclass
class _State:
    owner: int = 0
    """The process whose signals these are; 0: handlers are not set. (A forked child may run them before it sets its own.)"""
    pending: int = 0
    """The signal that asked to stop."""
    deferring: int = 0
    """How many `deferred` contexts are open."""
    patient: bool = False
    imports: int = 0
    """How many imports stood around `handled` (a program's own module may train while it is imported)."""
    postponed: bool = False
    """A signal waits for the end of an import."""
    turn: int = 0
    """Number of the `handled` that is open, or was last."""
    late: int = 0
    """A signal that came while handlers were put back, and is for those that were there before."""


_state = _State()


@contextlib.contextmanager
def handled(*, patient: bool = False) -> Iterator[None]:
    """Handle the signals while in here. In a thread other than the first, or within another `handled`, this changes nothing.

    patient: all signals but the first do nothing: whoever started this process sees to its end.
    """
    if threading.current_thread() is not threading.main_thread() or _state.owner == os.getpid():
        yield
        return
    _state.pending, _state.deferring, _state.patient, _state.postponed = 0, 0, patient, False
    _state.owner, _state.imports, _state.turn = os.getpid(), _imports(sys._getframe()), _state.turn + 1
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in ours:
            signal.signal(number, _on_signal)
        yield
    finally:
        _state.owner = 0  # first: a signal that came while handlers are put back would raise here, and leave them as they are
        for number in ours:
            signal.signal(number, before[number])
        if late := _state.late:
            _state.late = 0
            os.kill(os.getpid(), late)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let the first signal wait for `check`, or for the end of this context."""
    check()
    if not _mine():
        yield
        return
    _state.deferring += 1
    try:
        yield
    finally:
        _state.deferring -= 1
    check()


def check() -> None:
    """Raises: Stopped if a signal has asked to stop."""
    if number := pending():
        raise Stopped(number)


def pending() -> int:
    """The number of the signal that has asked to stop, in the thread that hears of signals; else 0."""
    return _state.pending if _mine() else 0


@contextlib.contextmanager
def hinting(hint: str) -> Iterator[None]:
    """Say how to go on, where something in here is stopped that does not say it already."""
    try:
        yield
    except Stopped as stopped:
        stopped.hint = stopped.hint or hint
        raise


@contextlib.contextmanager
def withheld() -> Iterator[None]:
    """A process that is started in here hears of no signal before it calls `let_through`: while it is starting, it has no handlers, and
    one would end it, or leave a traceback of what it imports. This process hears of those that come meanwhile in the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """In a process that was started in `withheld`: hear of signals from now on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _mine() -> bool:
    return _state.owner == os.getpid() and threading.current_thread() is threading.main_thread()


def _on_signal(number: int, frame: FrameType | None) -> None:
    again = bool(_state.pending)
    if not _state.owner:
        _state.late = number
    if _state.owner != os.getpid() or (again and _state.patient):
        return
    if not again and not _state.postponed and _imports(frame) > _state.imports:
        _state.postponed = True
        threading.Thread(target=_send_after_import, args=(number, _state.turn), daemon=True).start()
        return
    _state.pending = _state.pending or number
    if again:
        signal.signal(number, signal.SIG_DFL)
    if again or not _state.deferring:
        raise Stopped(number)


def _imports(frame: FrameType | None) -> int:
    """How many imports are under way at a place in the program."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_name == "_find_and_load"  # of importlib, once an import
        frame = frame.f_back
    return count


def _send_after_import(number: int, turn: int) -> None:
    """Send the first thread the signal again as soon as it imports nothing, unless what it was for has ended meanwhile."""
    first = threading.main_thread().ident or 0
    while _state.turn == turn and _imports(sys._current_frames().get(first)) > _state.imports:
        time.sleep(0.02)
    if _state.turn == turn and _state.owner == os.getpid() and not _state.pending:
        signal.pthread_kill(first, number)
