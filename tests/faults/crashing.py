"""A crash harness: a forked child counts what it does to the disk and dies at the k-th event; then somebody goes on, and compares.

    python tests/faults/crashing.py UNIT FOLDER [--every N] [--offset N]

A unit of `faults.units` says what is there before, what is done, and what must hold afterwards. Events are those of the interpreter's
audit hooks (opening for writing, renaming, removing, making folders, truncating) and `os.fsync`, which has none. A death is a `kill`,
after which the system still writes what it was given, or a `power` cut: then a file whose last bytes were not flushed has half of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
DEATHS = ("kill", "power")


class Doom:
    """Kills this process at the `at`-th event below `root`."""

    def __init__(self, root: Path, at: int, death: str) -> None:
        self.root, self.at, self.death = root, at, death
        self.count, self.over = 0, False
        self.before = {self._state(path) for path in root.rglob("*") if path.is_file()}
        self.flushed: dict[int, tuple[int, int]] = {}

    def install(self) -> None:
        """From now on. There is no way back: a process has its audit hooks for life."""
        sys.addaudithook(self._hear)
        flush = os.fsync

        def fsync(descriptor: int) -> None:
            self._event(f"fsync of {Path(f'/proc/self/fd/{descriptor}').readlink()}")
            flush(descriptor)
            state = os.fstat(descriptor)
            self.flushed[state.st_ino] = (state.st_size, state.st_mtime_ns)

        os.fsync = fsync

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.over:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self._is_ours(path):
                self._event(f"open {path}")
        elif event in CHANGING and self._is_ours(arguments[0]):
            self._event(f"{event} {arguments[0]}")

    def _is_ours(self, path: Any) -> bool:
        """Below the root; a relative name is one that `shutil.rmtree` removes below a folder."""
        if isinstance(path, int):
            return False
        plain = Path(os.fsdecode(path))
        return not plain.is_absolute() or plain.is_relative_to(self.root)

    def _event(self, what: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.over = True
            (self.root.parent / "last event").write_text(what)
            if self.death == "power":
                self._lose()
            os.kill(os.getpid(), signal.SIGKILL)

    def _lose(self) -> None:
        """Of what was written and not flushed, half."""
        for path in self.root.rglob("*"):
            if path.is_file() and (state := self._state(path)) not in self.before:
                flushed, when = self.flushed.get(state[0], (0, 0))
                if (flushed, when) != state[1:]:
                    os.truncate(path, (flushed + state[1]) // 2)

    @staticmethod
    def _state(path: Path) -> tuple[int, int, int]:
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns


def forked(work: Callable[[], object]) -> int:
    """Run it in a fork; gives the wait status."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    with contextlib.suppress(BaseException):
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    os._exit(4)


def crash_at(unit: Any, folder: Path, at: int, death: str) -> tuple[bool, bool]:
    """Whether the work came to its end before the `at`-th event, and whether all was well afterwards."""
    root = folder / "root"
    root.mkdir(parents=True)
    if forked(lambda: unit.before(root)):
        return True, False

    def work() -> None:
        Doom(root, at, death).install()
        unit.work(root)

    status = forked(work)
    ended = not os.WIFSIGNALED(status)
    if ended and status:
        return True, False
    return ended, forked(lambda: unit.after(root, ended)) == 0


def main() -> None:
    """Die at every `--every`-th event, in each way, and print what went wrong as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("unit")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    given = parser.parse_args()
    from faults import units

    unit = units.UNITS[given.unit]()
    died, wrong = 0, []
    for death in DEATHS:
        at, ended = 1 + given.offset, False
        while not ended:
            folder = given.folder / f"{death}-{at}"
            ended, well = crash_at(unit, folder, at, death)
            if not well:
                last = folder / "last event"
                wrong.append(f"{death} at {at}: {last.read_text() if last.exists() else 'not at all'}")
            died += not ended
            at += given.every
    print(json.dumps({"died": died, "wrong": wrong}))


if __name__ == "__main__":
    main()
