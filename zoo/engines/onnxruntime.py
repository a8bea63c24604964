"""ONNX Runtime on a CPU, for networks exported by torch.

Since 1.29 its wheels hold Microsoft's telemetry, on by default: creating its environment writes a device identifier and a
database under `~/.cache/Microsoft`, whatever `disable_telemetry_events` is told afterwards. `ORT_DISABLE_TELEMETRY`, set before the
import, is the full opt-out (microsoft/onnxruntime #27379 and #29843).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.engines import converted
from zoo.engines.base import Engine, detached, first_line
from zoo.errors import ConfigError, ZooError

_FILE = "model.onnx"


class OnnxEngine(Engine):
    """The network run by ONNX Runtime, in fp32."""

    name = "onnxruntime"

    def __init__(self, path: Path, batch_size: int) -> None:
        super().__init__(batch_size)
        library = _library()
        self.version = f"ONNX Runtime {library.__version__}, torch {torch.__version__}"
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; below are remarks on the graph
        # Idle threads sleep: other processes decode samples on the same cores meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def _run(self, images: Tensor) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._session.run(None, {self._input: images.detach().contiguous().numpy()})[0]
        return rows


def title(example: Tensor) -> str:
    """Name of the converted network's folder. The number of samples is part of the graph."""
    return f"onnxruntime-{_library().__version__}-torch-{torch.__version__}-{'x'.join(map(str, example.shape))}"


def prepare(net: nn.Module, example: Tensor, folder: Path | None) -> OnnxEngine:
    """The engine for batches of `example`'s shape, exported unless `folder` has it.

    Raises: ConfigError if the network cannot be exported; OutputError if the folder cannot be written.
    """
    try:
        with converted.files(folder, title(example), lambda into: _export(net, example, into)) as found:
            return OnnxEngine(found / _FILE, len(example))
    except ZooError:
        raise
    except Exception as error:  # the exporter and the runtime have a class for each of their parts, and few in common
        # The exporter's own error is advice on debugging it; its cause says what is wrong with the network.
        reason = first_line(error.__cause__ or error)
        raise ConfigError(f"ONNX Runtime cannot take this network: {reason}; use the engine torch") from error


def _export(net: nn.Module, example: Tensor, into: Path) -> None:
    """Weights go into a file beside the graph, as a graph alone ends at 2 GB."""
    _library()
    twin = detached(net, torch.device("cpu"), torch.contiguous_format)
    with _quiet(), torch.no_grad():
        torch.onnx.export(twin, (example,), into / _FILE, dynamo=True, verbose=False, external_data=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks to itself: warnings, log lines, and the graphs that it prints where it fails."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx.experimental.symbolic_shapes", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _library() -> Any:
    """The module onnxruntime, its telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    library: Any = importlib.import_module("onnxruntime")
    library.disable_telemetry_events()  # for a process that had imported it before
    return library
