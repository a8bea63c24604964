"""Networks that torch has traced, as OpenVINO's.

The front end reads them by way of torch, so this process imports it as well; it comes before any engine and ends with its work.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo.runtimes import libraries
from zoo.runtimes.shared import Shared


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
