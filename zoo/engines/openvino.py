"""OpenVINO on a CPU, for networks converted straight from torch by its PyTorch front end.

`import openvino` reports itself to Google Analytics where openvino-telemetry is installed, on which the wheel depends, and writes
a client identifier under `~/intel` (openvino/tools/ovc/__init__.py, 2026.4). It is imported here with that package out of sight,
as it then uses its own stub. The front end, the compiler and the runtime used below send nothing: only `openvino.tools` does.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.engines import converted
from zoo.engines.base import Engine, detached, fill, first_line
from zoo.errors import ConfigError, ZooError

_FILE = "model.xml"


class OpenVinoEngine(Engine):
    """The network run by OpenVINO, in fp32."""

    name = "openvino"

    def __init__(self, model: Any, example: Tensor, *, varying: bool = False) -> None:
        """model: an `openvino.Model` of any batch size, which is left as it is. varying: the last dimension may be of any length."""
        super().__init__(len(example))
        library = _library()
        self.version = f"OpenVINO {_version()}, torch {torch.__version__}"
        self._model, self._varying = model, varying
        self._example = example[:1]
        static = model.clone()
        static.reshape([-1, *example.shape[1:-1], -1] if varying else list(example.shape))
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # left to itself, it takes bf16 where the CPU has it: errors of 10 %
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
        }
        self._request = library.Core().compile_model(static, "CPU", settings).create_infer_request()

    def resized(self, batch_size: int) -> Engine | None:
        """Compiled again for batches of another size."""
        return OpenVinoEngine(self._model, fill(self._example, batch_size), varying=self._varying)

    def _run(self, images: Tensor) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._request.infer([images.detach().contiguous().numpy()])[0]
        return rows.copy() if self._varying else rows  # where shapes vary, the next call may write there


def title(example: Tensor, varying: bool = False) -> str:
    """Name of the converted network's folder. The number of samples is not part of the graph, nor is a length that varies."""
    shape = "x".join([*map(str, example.shape[1:-1]), "any" if varying else str(example.shape[-1])])
    return f"openvino-{_version()}-torch-{torch.__version__}-{shape}"


def prepare(net: nn.Module, example: Tensor, folder: Path | None, varying: bool = False) -> OpenVinoEngine:
    """The engine for batches of `example`'s shape (but for the last dimension, if it is `varying`), converted unless `folder` has it.

    Raises: ConfigError if the network cannot be converted; OutputError if the folder cannot be written.
    """
    try:
        with converted.files(folder, title(example, varying), lambda into: _convert(net, example, into)) as found:
            return OpenVinoEngine(_library().Core().read_model(found / _FILE), example, varying=varying)
    except ZooError:
        raise
    except Exception as error:  # whatever tracing meets in the network; OpenVINO's own are all RuntimeErrors
        raise ConfigError(f"OpenVINO cannot take this network: {first_line(error)}; use the engine torch") from error


def _convert(net: nn.Module, example: Tensor, into: Path) -> None:
    """Trace on two samples (one might be taken for a dimension to be dropped) and write the graph, its batch size open."""
    library = _library()
    decoder = importlib.import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder
    front_end = importlib.import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    twin = detached(net, torch.device("cpu"), torch.contiguous_format)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, on values that it takes for constants: shapes, which are
        traced = decoder(twin, example_input=fill(example[:2], 2).contiguous(), trace_kwargs={"check_trace": False})
    library.save_model(front_end.convert(front_end.load(traced)), into / _FILE, compress_to_fp16=False)


def _version() -> str:
    """`2026.4.1`, of `2026.4.1-22000-0123456789a-releases/2026/4`."""
    return str(_library().__version__).partition("-")[0]


def _library() -> Any:
    """The module openvino, without its telemetry."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with _hidden("openvino_telemetry"):
        return importlib.import_module("openvino")


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let `import name` fail inside, as if it were not installed."""
    before: ModuleType | None = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
