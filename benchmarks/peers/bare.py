"""The forward passes alone: the engine that zoo uses on a CPU, OpenVINO in fp32, over the same pictures, and nothing else.

What zoo's whole command takes beyond this is what it adds: checks, the head, the files that it writes and compares, the card.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # else the import reports itself to others

import openvino  # noqa: E402
import torch  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402
from torch.utils.data import ConcatDataset, DataLoader  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

from benchmarks.peers.answer import Clock, answer, parser  # noqa: E402
from benchmarks.peers.given import network, transform  # noqa: E402


def main() -> None:
    """Convert, run, and answer without predictions."""
    clock, options = Clock(), parser(__doc__, "openvino").parse_args()
    clock.mark("imports")
    model = network(options, num_classes=0).eval()
    pictures = ConcatDataset([ImageFolder(options.data / part, transform(model, options)) for part in ("train", "val", "test")])
    clock.mark("load")

    with torch.no_grad():
        decoder = TorchScriptPythonDecoder(model, example_input=pictures[0][0][None])
    frontend = FrontEndManager().load_by_framework("pytorch")
    converted = frontend.convert(frontend.load(decoder))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    clock.mark("convert")
    for images, _ in DataLoader(pictures, options.batch_size, num_workers=options.workers):
        compiled([images.numpy()])
    clock.mark("features")
    answer([], [], clock, f"{len(pictures):,} pictures, no head and nothing written")


if __name__ == "__main__":
    main()
