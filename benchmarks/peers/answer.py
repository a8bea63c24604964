"""What the scripts of the peers share: their arguments, their clock, and the line that they print."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import psutil


def parser(description: str | None, *variants: str) -> argparse.ArgumentParser:
    """`data`, `weights` (folders), `image_size`, `epochs`, `batch_size`, `workers`, `seed`, and `variant`, one of `variants`."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("variant", choices=variants)
    found.add_argument("--data", type=Path, required=True, help="folder of train/, val/ and test/, each with a folder a class")
    found.add_argument("--weights", type=Path, required=True, help="folder that benchmarks/weights.py wrote")
    found.add_argument("--image-size", type=int, default=128)
    found.add_argument("--epochs", type=int, default=5)
    found.add_argument("--batch-size", type=int, default=32)
    found.add_argument("--workers", type=int, default=2)
    found.add_argument("--seed", type=int, default=0)
    return found


class Clock:
    """Seconds of each phase. The first began with the process, so that it holds the imports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = psutil.Process().create_time()

    def mark(self, phase: str) -> None:
        """The phase that ends now is called so."""
        now = time.time()
        self.seconds[phase] = round(now - self._last, 3)
        self._last = now


def answer(predicted: Iterable[int], targets: Iterable[int], clock: Clock, notes: str) -> None:
    """Print, as the last line, which test pictures (in sorted order of their paths) were right, the phases, and what to know."""
    correct = [int(one == other) for one, other in zip(predicted, targets, strict=True)]
    print()  # a progress bar may have left a line unfinished
    print(json.dumps({"correct": correct, "seconds": clock.seconds, "notes": notes}))
