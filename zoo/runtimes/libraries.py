"""The libraries themselves, reporting to nobody. They are imported by processes of their own alone, see `zoo.runtimes.serving`.

`import openvino` reports itself to Google Analytics where openvino-telemetry is installed, on which the wheel depends, and writes
a client identifier under `~/intel` (openvino/tools/ovc/__init__.py, 2026.4). It is imported here with that package out of sight,
as it then uses its own stub. The front end, the compiler and the runtime used here send nothing: only `openvino.tools` does.

Since 1.29 the wheels of ONNX Runtime hold Microsoft's telemetry, on by default: creating its environment writes a device identifier
and a database under `~/.cache/Microsoft`, whatever `disable_telemetry_events` is told afterwards. `ORT_DISABLE_TELEMETRY`, set before
the import, is the full opt-out (microsoft/onnxruntime #27379 and #29843).
"""

from __future__ import annotations

import importlib
import math
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
"""What each library is called, by the name of its module."""


def installed_version(module: str) -> str:
    """`2026.4.1`; nothing is imported. A distribution may have another name than its module (onnxruntime-gpu)."""
    try:
        return version(module)
    except PackageNotFoundError:
        return version(packages_distributions().get(module, [module])[0])


def openvino() -> Any:
    """The module openvino, without its telemetry."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # `import` fails, as if it were not installed
    return importlib.import_module("openvino")


def onnxruntime() -> Any:
    """The module onnxruntime, its telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return importlib.import_module("onnxruntime")


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
