"""What a process that has a library for itself does: what it is told, line by line, until its parent goes.

Commands and responses are JSON, a line each, over a socket; samples and rows lie in shared memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo import interrupts
from zoo.runtimes import libraries
from zoo.runtimes.libraries import Shared

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


class Converter:
    """OpenVINO's front end for PyTorch."""

    def __init__(self) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._library = libraries.openvino()
        self._decoder = importlib.import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder
        self._front_end = importlib.import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")

    def do(self, command: dict[str, Any], inputs: Shared, outputs: Shared) -> dict[str, Any]:
        """Read TorchScript for samples of a shape and type from `inputs`, and write the graph to a path."""
        decoder = self._decoder(self._torch.jit.load(inputs.path))  # has to outlive the conversion, whose C++ does not keep it
        *_, samples = decoder.raw_inputs  # what is not written down with TorchScript: their number of dimensions
        samples.inferTypeFrom(self._torch.empty(command["shape"], dtype=getattr(self._torch, command["dtype"])))
        graph = self._front_end.convert(self._front_end.load(decoder))
        self._library.save_model(graph, command["path"], compress_to_fp16=False)
        return {}


class Servant(Protocol):
    """Something that has a library."""

    def do(self, command: dict[str, Any], inputs: Shared, outputs: Shared) -> dict[str, Any]:
        """Whatever the command says; its response."""


SERVANTS: dict[str, Callable[[], Servant]] = {
    "openvino": OpenVinoSessions,
    "onnxruntime": OnnxSessions,
    "converter": Converter,
}


def serve(name: str, channel: int, inputs: int, outputs: int, parent: int) -> None:
    """Do what comes over a socket until it is closed.

    name: of `SERVANTS`; channel, inputs, outputs: inherited descriptors; parent: the process that this one is to end with,
    0 where that is left to the socket.
    """
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    interrupts.let_through()
    if parent:
        _end_with(parent)
    with socket.socket(fileno=channel) as link, contextlib.suppress(ConnectionError):
        shared = Shared(inputs), Shared(outputs)
        for response in _responses(name, link, *shared):
            link.sendall(json.dumps(response).encode() + b"\n")


def _responses(name: str, link: socket.socket, inputs: Shared, outputs: Shared) -> Iterator[dict[str, Any]]:
    servant: Servant | None = None
    problem = ""
    try:
        servant = SERVANTS[name]()
    except Exception as error:  # whatever a library that is broken raises where it is imported
        problem = _reason(error)
    with link.makefile("rb") as lines:
        for line in lines:
            if servant is None:
                yield {"error": problem}
                continue
            try:
                yield servant.do(json.loads(line), inputs, outputs)
            except Exception as error:  # the library's own, of as many classes as it has parts
                yield {"error": _reason(error)}


def _reason(error: Exception) -> str:
    """The first line of an error that says something: those of OpenVINO begin with places in its source, which end in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), lines[0] if lines else type(error).__name__)


def _end_with(parent: int) -> None:
    """Have the system kill this process as soon as its parent has gone, also while it is computing, stopped or stuck."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it went before
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """`NAME CHANNEL INPUTS OUTPUTS PARENT`."""
    name, *numbers = arguments
    serve(name, *map(int, numbers))
