"""Converted networks on the disk: each a folder that is there whole or not at all, made once and read ever after.

What is converted is always read back from its files, also when they are thrown away at once: so that a network converted now and
one found from last time give the same bits, and none shares memory with weights that may be trained later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo import cache, folders
from zoo.cache import warn_once
from zoo.errors import CheckpointError, OutputError


@contextlib.contextmanager
def files(parent: Path | None, title: str, convert: Callable[[Path], None]) -> Iterator[Path]:
    """The folder with a converted network: `parent/title` if it is whole, else what `convert` now writes into it.

    While the context lasts it is not removed, and other processes wait that want the same.

    parent: belongs to one network, the one that `convert` converts; None, or where it cannot be written: the files go with the context.
    title: of the converter, its version and the shape of the input.
    Raises: OutputError if nothing can be written anywhere; what `convert` raises.
    """
    with contextlib.ExitStack() as stack:
        if parent is not None and _kept(parent, title, convert, stack):
            yield parent / title
            return
        passing = cache.passing()
        stack.callback(cache.release, passing)
        with folders.whole(passing / title) as aside:
            convert(aside)
        yield passing / title


def _kept(parent: Path, title: str, convert: Callable[[Path], None], stack: contextlib.ExitStack) -> bool:
    """Have the network in the cache, and held there until the stack is left; False where the cache cannot be written."""
    target = parent / title
    try:
        stack.enter_context(cache.alone(parent, title))
    except OSError:  # it can be read all the same
        return is_whole(target)
    if is_whole(target):
        return True
    if target.exists():
        warn_once(f"{target}: damaged; the network is converted again")
    try:
        with folders.whole(target, replace=True) as aside:
            convert(aside)
    except OutputError as error:
        warn_once(f"{error}: the converted network is kept for this command alone")
        return False
    return True


def is_whole(folder: Path) -> bool:
    """Whether a converted network is there and undamaged."""
    try:
        folders.verify(folder)
    except CheckpointError:
        return False
    return True
