"""Files of samples, read whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

Look = Callable[[IO[bytes], int], None]
"""What is given an open file and its size before it is read, and raises where it should not be."""
_REPLACED = "replaced since it was checked; start again (after `zoo cache clear checked` if its time of change was set back)"


def read_file(path: Path, sha256: str = "", look: Look | None = None) -> bytes:
    """All bytes of a regular file; of anything else (a folder, a pipe that would never end), or nothing, a ValueError or OSError.

    Args:
        sha256: what they had when the file was checked; a ValueError if they have another now, since everything that is computed is kept
            under it. Empty: it was not checked.
        look: what looks at the file's size and beginning first, so that what is too large, or no sample at all, takes no memory.

    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    with path.open("rb", buffering=0) as file:
        if look is not None:
            look(file, os.fstat(file.fileno()).st_size)
            file.seek(0)
        content = file.readall()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(_REPLACED)
    if not content:
        raise ValueError("an empty file")
    return content


@contextlib.contextmanager
def opened_file(path: Path, sha256: str = "") -> Iterator[tuple[IO[bytes], str]]:
    """A file to be read from its beginning, and the sha256 of its bytes, of which none are kept.

    Raises: as `read_file`; on leaving, ValueError if it was written to meanwhile: what was read may be other than what has the digest.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    with path.open("rb") as file:
        before = _version(file)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256:
            raise ValueError(_REPLACED)
        if not file.tell():
            raise ValueError("an empty file")
        file.seek(0)
        yield file, found
        if _version(file) != before:
            raise ValueError(_REPLACED)


def _version(file: IO[bytes]) -> tuple[int, int]:
    """What changes when an open file is written to: its size and time of change."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
