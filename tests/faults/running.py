"""A run small enough to be done again and again, and what is compared of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo import folders

OPTIONS: dict[str, Any] = {
    "backbone": "timm/test_vit.r160_in1k",
    "weights": "random",
    "strategy": "partial:1",
    "head_fit": "stepped",
    "image_size": 32,
    "augment": "light",
    "epochs": 1,
    "batch_size": 8,
    "eval_every": 0.5,
    "lr": 1e-3,
    "precision": "no",
    "checkpoint_every": 2,
    "num_workers": 0,
    "cache": "off",
}
"""Of what `photos` draws: 6 steps, 2 evaluations, 4 checkpoints."""


def photos(root: Path) -> str:
    """64 images of two classes, of which 48 are trained on; gives the folder."""
    rng = np.random.default_rng(0)
    for number in range(64):
        place = root / ("train" if number < 48 else "val") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 200, (32, 32, 3), dtype=np.uint8)
        noise[..., number % 2] += 50
        Image.fromarray(noise).save(place / f"{number}.png")
    return str(root)


TIMES = ("seconds", "samples_per_second", "waiting")


def bytes_of(run: Path) -> dict[str, Any]:
    """What is the same each time: the digests of the weights, the newest checkpoint, the evaluations without their times."""
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "best": folders.sha256(run / "best" / "model.safetensors"),
        "newest": [newest.name, *(folders.sha256(newest / f"{name}.safetensors") for name in ("model", "optimizer"))],
        "metrics": [{name: value for name, value in line.items() if name not in TIMES} for line in metrics],
        "result": json.loads((run / "result.json").read_text())["metrics"],
    }
