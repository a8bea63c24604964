"""Disks that are full, or become read-only, for as long as a test wants."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def full(self, free: int = 0) -> Iterator[None]:
        """No more than `free` bytes can be written while in here, and some that a page needs."""
        ballast = self.path / "ballast"
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))
        os.truncate(ballast, max(0, ballast.stat().st_size - free))
        try:
            yield
        finally:
            ballast.unlink()


@contextlib.contextmanager
def immutable() -> Iterator[Callable[[Path], None]]:
    """What is called in here lets nothing be written into a folder any more, not by root either; on leaving, it can be again.

    (A disk cannot be remounted read-only while a file on it is open for writing, such as the lock of a run.)
    """
    locked: list[Path] = []

    def lock(folder: Path) -> None:
        locked.extend([folder, *folder.rglob("*")])
        _attribute("+i", [path for path in locked if not path.is_symlink()])

    try:
        yield lock
    finally:
        _attribute("-i", locked)


def can_be_immutable(folder: Path) -> bool:
    """Whether the file system has that attribute, and this user may set it."""
    return subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode == 0 and not _attribute(
        "-i", [folder]
    )


def _attribute(change: str, paths: Iterable[Path]) -> None:
    subprocess.run(["chattr", change, *map(str, paths)], check=True, timeout=30)


@contextlib.contextmanager
def small_disk(path: Path, size: int = 16 << 20) -> Iterator[Disk]:
    """A disk of `size` bytes at `path`; skips the test where it may not be made."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, timeout=30, check=False
    )
    if made.returncode:
        pytest.skip("a disk can be mounted by root alone")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=30)
