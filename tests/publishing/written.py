"""A folder to publish: weights of no meaning, a config as zoo/adaptation/saved.py writes it, and facts of a card."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from zoo import folders
from zoo.evaluation.report import Report, evaluate
from zoo.publishing.card import CardFacts, write_card
from zoo.types import Labels

NAMES = ("cat", "dog", "fox")

CONFIG: dict[str, Any] = {
    "format": "zoo/1",
    "layout": "timm",
    "task": "classification",
    "labels": {"names": list(NAMES), "sha256": Labels(NAMES).sha256},
    "preprocess": {"size": 224, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "crop_fraction": 0.875},
    "strategy": "full",
    "merged_from": None,
    "head": {"name": "linear", "in_features": 2048, "num_outputs": 3},
    "lora": None,
    "base": {
        "name": "resnet50",
        "id": "resnet50.a1_in1k",
        "family": "resnet",
        "arguments": {},
        "licence": "apache-2.0",
        "source": "file /Users/ann/weights/resnet50.safetensors",
        "sha256": "ab" * 32,
        "tensors_sha256": "cd" * 32,
        "seed": None,
    },
}


def report(names: tuple[str, ...] = NAMES, pictures: int = 90, seed: int = 0, strength: float = 2.5) -> Report:
    """A report on seeded outputs."""
    generator = np.random.default_rng(seed)
    targets = np.arange(pictures) % len(names)
    logits = generator.normal(size=(pictures, len(names)))
    logits[np.arange(pictures), targets] += strength
    return evaluate(targets, logits, Labels(names))


def facts(names: tuple[str, ...] = NAMES, *, config: dict[str, Any] | None = None, **changes: Any) -> CardFacts:
    """The facts of a card; `config` is laid over the usual one, `base` key by key."""
    own = copy.deepcopy(CONFIG)
    for key, value in (config or {}).items():
        own[key] = own[key] | value if key == "base" else value
    values: dict[str, Any] = {
        "report": report(names),
        "config": own,
        "options": {"backbone": "resnet50", "lr": 0.001, "data": "/Users/ann/photos/pets", "clip": None, "out": "/Users/ann/run"},
        "origins": {"backbone": "flag", "lr": "recipe /Users/ann/my.yaml", "data": "flag", "clip": "default", "out": "flag"},
        "data": {
            "name": "/Users/ann/photos/pets",
            "sha256": "ef" * 32,
            "licence": None,
            "sizes": {"train": 100 * len(names), "val": 10 * len(names), "test": 30 * len(names)},
            "counts": {"train": dict.fromkeys(names, 100), "val": dict.fromkeys(names, 10), "test": dict.fromkeys(names, 30)},
            "notices": ["2 of 423 files cannot be read and were left out: cat/a<b>.jpg, dog/x|y.jpg"],
        },
        "trains": "full trains 161 of 161 tensors, 23.5 M parameters, 100 %",
        "environment": {"torch": "2.14.1", "device": "CPU, 2 cores", "precision": "no"},
        "seconds": 61.25,
        "split": "test",
        "step": "step 90 of 120, the best by accuracy on the validation images",
        "reload_difference": 0.0,
    }
    return CardFacts(**(values | changes))


def publishable(parent: Path, name: str = "best", *, weights: bytes = b"weights", **changes: Any) -> Path:
    """A whole folder with weights, config, card, figures and manifest."""
    target = parent / name
    with folders.whole(target) as folder:
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_text('{"zoo": {}}')
        write_card(folder, facts(**changes))
    return target
