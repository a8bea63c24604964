"""Files of samples, read whole."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path


def read_file(path: Path, sha256: str = "") -> bytes:
    """All bytes of a regular file; of anything else (a folder, a pipe that would never end), or nothing, a ValueError or OSError.

    sha256: what they had when the file was checked; a ValueError if they have another now, since everything that is computed is kept
    under it. Empty: it was not checked.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    content = path.read_bytes()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            "replaced since it was checked; start again (after `zoo cache clear checked` if its time of change was set back)"
        )
    if not content:
        raise ValueError("an empty file")
    return content
