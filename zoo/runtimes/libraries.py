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
import os
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

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
