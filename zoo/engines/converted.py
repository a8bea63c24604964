"""Converted networks on the disk: each a folder that is there whole or not at all, made once and read ever after.

What is converted is always read back from its files, also when they are thrown away at once: so that a network converted now and
one found from last time give the same bits, and none shares memory with weights that may be trained later.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo import folders
from zoo.errors import CheckpointError


@contextlib.contextmanager
def files(parent: Path | None, title: str, convert: Callable[[Path], None]) -> Iterator[Path]:
    """The folder with a converted network: `parent/title` if it is whole, else what `convert` now writes into it.

    parent: belongs to one network, the one that `convert` converts; None: the files go when the context is left.
    title: of the converter, its version and the shape of the input.
    Raises: OutputError if the folder cannot be written; what `convert` raises.
    """
    if parent is None:
        with tempfile.TemporaryDirectory(prefix="zoo-engine-", ignore_cleanup_errors=True) as temporary:
            convert(Path(temporary))
            yield Path(temporary)
        return
    target = parent / title
    if not is_whole(target):
        with folders.whole(target, replace=True) as aside:
            convert(aside)
    yield target


def is_whole(folder: Path) -> bool:
    """Whether a converted network is there and undamaged."""
    try:
        folders.verify(folder)
    except CheckpointError:
        return False
    return True
