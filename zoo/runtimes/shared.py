"""Memory that two processes see."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Shared:
    """A file without a name, in memory where the system can: no limit of /dev/shm holds for it, and it goes with the last that has it open,
    however these end. It grows as it is needed. One side writes at a time."""

    def __init__(self, file: int | None = None) -> None:
        """file: the descriptor of an existing one, inherited; None: a new one."""
        self.file = _nameless() if file is None else file
        self._map: mmap.mmap | None = None

    @property
    def path(self) -> str:
        """A name for libraries that open files themselves, good in processes that have the descriptor."""
        return f"/dev/fd/{self.file}"

    def array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """The first bytes as an array that shares them. Raises: OSError where there is no room."""
        count = math.prod(shape)
        size = max(1, count * np.dtype(dtype).itemsize)
        if self._map is None or len(self._map) < size:
            if os.fstat(self.file).st_size < size:
                _grow(self.file, size)
            self._map = mmap.mmap(self.file, os.fstat(self.file).st_size)
        return np.frombuffer(self._map, dtype, count).reshape(shape)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("zoo")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _grow(file: int, size: int) -> None:
    """Where the system can, with room made sure of: writing into a hole of a full disk would end the process by a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
