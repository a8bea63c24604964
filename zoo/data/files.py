"""Files of samples, read whole."""

from __future__ import annotations

import stat
from pathlib import Path


def read_file(path: Path) -> bytes:
    """All bytes of a regular file; of anything else (a folder, a pipe that would never end), or nothing, a ValueError or OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    content = path.read_bytes()
    if not content:
        raise ValueError("an empty file")
    return content
