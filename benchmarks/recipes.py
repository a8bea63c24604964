"""The default recipe of every strategy on small sets of images and texts: what each gives beside the linear probe.

    python -m benchmarks.recipes                                     # writes benchmarks/RECIPES.md; hours on two cores
    python -m benchmarks.recipes digits-400 --epochs 5 --seeds 1     # a part of it, to the terminal

A draw is of other training and validation samples; the test samples are the same ones for all, and are looked at by the finished run alone.
Runs that stand in `--results` are not run again. The samples of `letters` and `emoji` are drawn from the fonts that are installed: numbers
of another machine are of other samples.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import zoo
from benchmarks import drawn, pictures, texts

PAGE, RESULTS = Path(__file__).with_name("RECIPES.md"), Path(__file__).with_name("recipes.jsonl")
STRATEGIES = ("linear-probe", "full", "lp-ft", "lora:16", "partial", "norm-only", "bias-only", "gradual:0.5")
TESTED, CHOSEN = 1_000, 500
"""Samples to measure and to choose on, at most: a fifth of all."""


@dataclass(frozen=True)
class Set:
    """Where samples come from, how many to train on, and what is trained."""

    source: str
    count: int
    backbone: str
    options: dict[str, Any]


_IMAGES, _TEXTS = "tf_efficientnet_lite0", "all-MiniLM-L6-v2"
SETS = {
    "digits-400": Set("digits", 400, _IMAGES, {"image_size": 64}),
    "letters-1000": Set("letters", 1_000, _IMAGES, {"image_size": 64}),
    "emoji-800": Set("emoji", 800, _IMAGES, {"image_size": 128}),
    "fashion-500": Set("fashion", 500, _IMAGES, {"image_size": 128}),
    "fashion-2000": Set("fashion", 2_000, _IMAGES, {"image_size": 128}),
    "fortunes-1000": Set("fortunes", 1_000, _TEXTS, {"max_length": 64}),
    "fortunes-3000": Set("fortunes", 3_000, _TEXTS, {"max_length": 64}),
}
SETS |= {
    f"{name}-lite{size}": replace(SETS[name], backbone=f"tf_efficientnet_lite{size}")
    for name in ("digits-400", "fashion-500")
    for size in (1, 2)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--epochs", nargs="+", type=int, default=(5, 20))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="what was measured, a line a run")
    given = parser.parse_args()
    names = given.names or list(SETS)
    for name, epochs, seed, strategy in itertools.product(names, given.epochs, range(given.seeds), given.strategies):
        _once(name, strategy, 0 if strategy == "linear-probe" else epochs, seed, given.results)
    lines = list(_lines(_read(given.results)))
    print("\n".join(lines))
    if not given.names:
        PAGE.write_text(_page(lines), encoding="utf-8")


def _once(name: str, strategy: str, epochs: int, seed: int, results: Path) -> None:
    """Run what does not stand in the results, and write it there. A probe takes no epochs."""
    key = {"set": name, "strategy": strategy, "epochs": epochs, "seed": seed}
    if any(key.items() <= one.items() for one in _read(results)):
        return
    one, began = SETS[name], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        options = one.options | ({"epochs": epochs} if epochs else {})
        run = zoo.finetune(
            one.backbone,
            data=draw(one, seed),
            strategy=strategy,
            seed=seed,
            out=f"{folder}/run",
            cache=f"{folder}/cache",
            num_workers=0,
            tensorboard=False,
            **options,
        )
        values = [line["metrics"]["accuracy"] for line in run.metrics() if line["best"]]
        found = {"val": values[-1], "test": run.value, "step": run.result()["best_step"], "seconds": time.perf_counter() - began}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(key | found) + "\n")


def draw(one: Set, seed: int) -> list[Any]:
    """(samples, classes) to train, to choose and to measure on. Fonts are never in two of them."""
    samples, targets, *groups = _SOURCES[one.source]()
    if groups:
        fixed = np.random.default_rng(0).permutation(groups[0].max() + 1)
        fifth = len(fixed) // 5
        rest = np.random.default_rng([1, seed]).permutation(fixed[fifth:])
        parts = [np.flatnonzero(np.isin(groups[0], fonts)) for fonts in (rest[fifth:], rest[:fifth], fixed[:fifth])]
    else:
        order = pictures.stratified(targets, 0)
        tested, chosen = min(TESTED, len(order) // 5), min(CHOSEN, len(order) // 5)
        rest = order[tested:][pictures.stratified(targets[order[tested:]], seed + 1)]
        parts = [rest[chosen:], rest[:chosen], order[:tested]]
    kept = [
        part[pictures.stratified(targets[part], seed)][:most]
        for part, most in zip(parts, (one.count, CHOSEN, TESTED), strict=True)
    ]
    return [_pairs(samples, targets, rows) for rows in kept]


def _pairs(samples: Any, targets: NDArray[np.int64], rows: NDArray[np.int64]) -> Any:
    if isinstance(samples, list):
        return [{"text": samples[row], "label": str(targets[row])} for row in rows]
    chosen = samples[rows]
    return (np.repeat(chosen[..., None], 3, axis=-1) if chosen.ndim == 3 else chosen), targets[rows]


def _fortunes() -> tuple[list[str], NDArray[np.int64]]:
    found, subjects = texts.read()
    return found, np.unique(subjects, return_inverse=True)[1]


_SOURCES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "digits": pictures._digits,
    "fashion": lambda: pictures._fashion("train"),
    "emoji": drawn.emoji,
    "letters": drawn.letters,
    "fortunes": _fortunes,
}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _lines(records: Iterable[dict[str, Any]]) -> Iterable[str]:
    """A line for each set and number of epochs: the mean of the draws on the test samples, with the least and the largest."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for one in records:
        cells = found.setdefault((one["set"], one["epochs"]), {})
        cells.setdefault(one["strategy"], []).append(100 * one["test"])
    for (name, epochs), cells in sorted(found.items(), key=lambda item: (list(SETS).index(item[0][0]), item[0][1])):
        if epochs:
            cells = found.get((name, 0), {}) | cells
            yield f"| {name} | {epochs} | {' | '.join(_cell(cells.get(strategy, [])) for strategy in STRATEGIES)} |"


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.1f} (one)" for value in values)
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}; {len(values)})"


def _page(lines: list[str]) -> str:
    return f"""# The default recipes

`python -m benchmarks.recipes`: test accuracy in percent, the mean of the draws with the least and the largest, and how
many there were; an empty cell was not run. {_IMAGES} for images, {_TEXTS} for texts; every strategy by its default recipe,
but for the epochs.

| samples | epochs | {" | ".join(STRATEGIES)} |
|---|---:|{"---|" * len(STRATEGIES)}
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
