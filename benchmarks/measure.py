"""One command in a process of its own, its wall time and its memory measured from outside, imports included; and the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from zoo.errors import RunFailed

ROOT = Path(__file__).parents[1]
THREADS = 2
"""Of each library of every command, whatever the machine has: more would compare machines, not programs."""
LIBRARIES = (
    "zoo-finetune", "torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "peft", "fastai", "lightning",
    "scikit-learn", "openvino", "numpy", "pillow",
)  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """What every command finds: the same number of threads, empty caches of its own, and no network."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS))
    caches = {"HF_HOME": str(folder / "huggingface"), "FASTAI_HOME": str(folder / "fastai")}
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **threads, **caches, **offline}


def timed(arguments: Sequence[str], folder: Path) -> float:
    """Seconds of Python with these arguments in a new working folder. Raises: RunFailed."""
    found, _ = _process(arguments, folder)
    return float(found["seconds"])


def run(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run Python with these arguments in a new working folder.

    Returns: `seconds` (wall), `peak_mb` (of the largest single process among the command and its workers; MB of 10^6 bytes),
    `correct` and `total` (test pictures, None where it predicts nothing), `phases` (seconds by name) and `notes`.
    Raises: RunFailed with the last line that it wrote, if it fails.
    """
    found, said = _process(arguments, folder)
    return found | read_answer(said)


def _process(arguments: Sequence[str], folder: Path) -> tuple[dict[str, Any], str]:
    """`seconds` and `peak_mb` of a process, and the last line that it printed. Raises: RunFailed."""
    folder.mkdir(parents=True)
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    said = (folder / "stdout.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    if process.returncode or not said:
        complaint = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
        raise RunFailed(f"exit status {process.returncode}: {complaint[-1]}")
    return {"seconds": round(seconds, 3), "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1)}, said[-1]


def read_answer(line: str) -> dict[str, Any]:
    """`correct`, `total`, `phases` and `notes` from the line of JSON that a peer's script, or `zoo finetune --json`, ends with."""
    said: Mapping[str, Any] = json.loads(line)
    if "value" in said:
        total = said["samples"]
        return {"correct": round(said["value"] * total), "total": total, "phases": {"train": said["seconds"]}, "notes": ""}
    total = len(said["correct"]) or None
    right = sum(said["correct"]) if total else None
    return {"correct": right, "total": total, "phases": said["seconds"], "notes": said["notes"]}


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory in GB, Python, and the version of every library that takes part."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "threads": THREADS,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
