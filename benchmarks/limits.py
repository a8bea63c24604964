"""What must not grow and what must not be lost: memory, the time of a solved head, and features whose computation is killed.

    python -m benchmarks.limits                 # prints a table; ten minutes on two cores
    python -m benchmarks.limits memory solver   # some of it

Each number is of a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pictures
from benchmarks.measure import environment

EXTRACT = """
import json, resource, sys, torch
from zoo import backbones, registry
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.data import open_splits
from zoo.training.features.extraction import Extractor
config = build({"data": sys.argv[1], "cache": sys.argv[2], "num_workers": 1, "engine": sys.argv[3]})
train = open_splits(config).train
model = AdaptedModel.build(backbones.load(registry.resolve("tf_efficientnet_lite0"), image_size=64), 10)
cut = boundary.cut(model)
print("ready", flush=True)
with Extractor(cut.prefix, cut.where, model.backbone, config, torch.device("cpu")) as extractor:
    extractor.rows(train)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"computed": extractor.work.computed, "seconds": extractor.work.seconds, "peak": peak}))
"""

STEP = """
import json, resource, sys, torch
from zoo.adaptation.model import AdaptedModel
model = AdaptedModel.build("resnet50", 10, strategy=sys.argv[1], weights="random").train().to(memory_format=torch.channels_last)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad])
for _ in range(2):
    images = torch.zeros(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(model(images), torch.zeros(32, dtype=torch.long)).backward()
    optimizer.step()
    optimizer.zero_grad()
print(json.dumps({"before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""

FEATURES = """
import sys, numpy as np
generator, count = np.random.default_rng(0), int(sys.argv[1])
targets = generator.integers(0, 10, count)
centres = generator.standard_normal((10, 200)) * 0.35
mixed = (centres[targets] + generator.standard_normal((count, 200))) @ generator.standard_normal((200, 1_280))
np.save(sys.argv[2], np.maximum(mixed, 0).astype(np.float32))
np.save(sys.argv[3], targets)
print({})
"""
"""In a process of its own too: a child's peak memory is at least that of the process that starts it."""

SOLVE = """
import json, resource, sys, time, numpy as np
from zoo.training import probe, solving
features, targets = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
began = time.perf_counter()
with probe._threads(features.size * 10):
    found = [one.converged for one in solving.sweep(features, targets, 10)]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"solved": len(found), "converged": sum(found), "seconds": time.perf_counter() - began, "peak": peak}))
"""


def child(code: str, *arguments: object, work: Path) -> dict[str, Any]:
    """Run a program, and give the object that it prints last."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment(work), stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def memory(work: Path) -> Iterator[str]:
    """Peak memory of extraction for few and for many pictures."""
    for count in (1_000, 20_000):
        pictures.write("fashion-mnist", work / str(count), (count, 100, 100))
        said = child(EXTRACT, work / str(count), work / f"cache-{count}", "openvino", work=work)
        yield f"extraction of {said['computed']:,} pictures, 64 px: {said['seconds']:.1f} s, peak memory {said['peak'] / 1e9:.2f} GB"


def partial(work: Path) -> Iterator[str]:
    """Peak memory of training steps on resnet50, above that of the model."""
    for strategy in ("full", "partial:1", "linear-probe"):
        said = child(STEP, strategy, work=work)
        yield (
            f"resnet50, {strategy}, steps of 32 pictures of 224 px: {(said['peak'] - said['before']) / 1e9:.2f} GB above the model's "
            f"{said['before'] / 1e9:.2f}"
        )


def solver(work: Path) -> Iterator[str]:
    """Time and memory of a solved head on features like a network's: of low rank, not negative, with noise."""
    for count in (2_000, 60_000):
        child(FEATURES, count, work / "features.npy", work / "targets.npy", work=work)
        said = child(SOLVE, work / "features.npy", work / "targets.npy", work=work)
        yield (
            f"head of {count:,} x 1,280 features, 10 classes: {said['solved']} solutions ({said['converged']} converged) in "
            f"{said['seconds']:.1f} s, peak memory {said['peak'] / 1e9:.2f} GB"
        )


def kills(work: Path) -> Iterator[str]:
    """Extraction that is killed ten times at random moments, against one that is not."""
    data = work / "kills"
    pictures.write("fashion-mnist", data, (8_000, 100, 100))
    child(EXTRACT, data, work / "whole", "torch", work=work)
    draw = random.Random(0)
    command = [sys.executable, "-c", EXTRACT, str(data), str(work / "killed"), "torch"]
    for _ in range(10):
        with subprocess.Popen(command, env=environment(work), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0, 1.5))  # the first shard is closed after half a second
            os.kill(process.pid, signal.SIGKILL)
    last = child(EXTRACT, data, work / "killed", "torch", work=work)
    rows = [
        np.sort(np.concatenate([np.load(path) for path in (work / name / "features").glob("*/*.npy")]), order="key")
        for name in ("whole", "killed")
    ]
    same = len(rows[0]) == len(rows[1]) and np.array_equal(rows[0], rows[1])
    yield (
        f"killed ten times: {len(rows[1]):,} rows for {len(np.unique(rows[1]['key'])):,} pictures, {last['computed']:,} of them in the "
        f"last sitting; {'the same bytes as' if same else 'DIFFERENT from'} an undisturbed extraction"
    )


def main(parts: Mapping[str, Callable[[Path], Iterator[str]]]) -> None:
    """Measure the parts that are named, or all."""
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory(prefix="zoo-limits-") as folder:
            for line in parts[name](Path(folder)):
                print(f"- {line}", flush=True)


if __name__ == "__main__":
    main({"memory": memory, "partial": partial, "solver": solver, "kills": kills})
