"""Converted networks, ready to be run on batches of one shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.runtimes import libraries
from zoo.runtimes.shared import Shared

Run = Callable[[NDArray[Any]], NDArray[Any]]


class Sessions(ABC):
    """Those of one library, by number."""

    def __init__(self) -> None:
        self._running: dict[int, Run] = {}

    def do(self, command: dict[str, Any], inputs: Shared, outputs: Shared) -> dict[str, Any]:
        """`load` a network from a path, `run` it on the samples in `inputs`, or `drop` it."""
        what, number = command["do"], command["session"]
        if what == "load":
            self._running[number] = self._load(
                command["path"], command["shape"], command["threads"], command["varying"], command["precision"]
            )
            return {}
        if what == "drop":
            del self._running[number]
            return {}
        rows = self._running[number](inputs.array(command["shape"], command["dtype"]))
        outputs.array(rows.shape, np.float32)[...] = rows
        return {"shape": rows.shape}

    @abstractmethod
    def _load(self, path: str, shape: list[int], threads: int, varying: bool, precision: str) -> Run:
        """Of the samples that are run, the number and the last dimension may differ if they are `varying`. precision: `no` or `bf16`."""


class OpenVinoSessions(Sessions):
    """In fp32, or in bf16."""

    def __init__(self) -> None:
        super().__init__()
        self._core = libraries.openvino().Core()
        self._models: dict[str, Any] = {}

    def _load(self, path: str, shape: list[int], threads: int, varying: bool, precision: str) -> Run:
        if path not in self._models:
            self._models[path] = self._core.read_model(path)
        model = self._models[path].clone()
        model.reshape([-1, *shape[1:-1], -1] if varying else shape)
        settings = {
            # Left to itself, it takes bf16 where the CPU has it: errors of 10 %.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
        }
        request = self._core.compile_model(model, "CPU", settings).create_infer_request()

        def run(samples: NDArray[Any]) -> NDArray[Any]:
            rows: NDArray[Any] = request.infer([samples], share_inputs=True, share_outputs=True)[0]
            return rows

        return run


class OnnxSessions(Sessions):
    """In fp32."""

    def __init__(self) -> None:
        super().__init__()
        self._library = libraries.onnxruntime()

    def _load(self, path: str, shape: list[int], threads: int, varying: bool, precision: str) -> Run:
        """The shape stands in the file, and so does the precision."""
        options = self._library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; below are remarks on the graph
        # Idle threads sleep: other processes decode samples on the same cores meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = self._library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def run(samples: NDArray[Any]) -> NDArray[Any]:
            rows: NDArray[Any] = session.run(None, {name: samples})[0]
            return rows

        return run
