"""The solved head against scikit-learn's own cross-validation, on the same features: how good, and how long.

    python -m benchmarks.heads                        # writes benchmarks/HEADS.md; an hour on two cores
    python -m benchmarks.heads fashion-500 --draws 2  # one of them, to the terminal

Features are those of pretrained networks, computed once (tf_efficientnet_lite0; all-MiniLM-L6-v2). Each draw fits to so many samples, of
which each class has its share, and measures on up to 3,000 others. All have the same samples: zoo's head is what `zoo finetune --freeze
backbone` ships by default; `LogisticRegressionCV` and `RidgeCV` are scikit-learn's, 13 strengths and five folds, on standardised
features and on features as they are. One thread each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks import pictures, texts
from zoo import backbones, registry
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.evaluation import metrics
from zoo.evaluation.outputs import from_logits
from zoo.training.probe import pools, solved_head, sweep
from zoo.types import Task

RESULT = Path(__file__).parent / "HEADS.md"
STRENGTHS = 13
MEASURED = 3_000
"""Samples that each draw is measured on, at most."""
METRIC = {Task.CLASSIFICATION: "accuracy", Task.MULTILABEL: "mean_average_precision", Task.REGRESSION: "rmse"}


@dataclass(frozen=True)
class Set:
    """Features with targets, and how many to fit to."""

    source: str
    count: int
    targets: Callable[[NDArray[np.int64], NDArray[Any]], NDArray[Any]] | None = None
    """From classes and another quantity of each sample to what is predicted; None: the classes."""
    task: Task = Task.CLASSIFICATION


def _properties(classes: NDArray[np.int64], _: NDArray[Any]) -> NDArray[Any]:
    """Of a digit: even, above four, prime, with a closed loop."""
    return np.stack([classes % 2 == 0, classes > 4, np.isin(classes, (2, 3, 5, 7)), np.isin(classes, (0, 6, 8, 9))], 1).astype(
        float
    )


def _quantity(_: NDArray[np.int64], other: NDArray[Any]) -> NDArray[Any]:
    return other[:, None].astype(float)


SETS = {
    "digits-400": Set("digits", 400),
    "digits-1200": Set("digits", 1_200),
    "fashion-500": Set("fashion", 500),
    "fashion-2000": Set("fashion", 2_000),
    "fashion-6000": Set("fashion", 6_000),
    "fortunes-1000": Set("fortunes", 1_000),
    "fortunes-3000": Set("fortunes", 3_000),
    "synthetic-1500": Set("synthetic", 1_500),
    "digits-properties": Set("digits", 400, _properties, Task.MULTILABEL),
    "digits-ink": Set("digits", 400, _quantity, Task.REGRESSION),
    "fortunes-length": Set("fortunes", 1_000, _quantity, Task.REGRESSION),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "zoo-heads", help="where features are kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn")  # of strengths that did not converge
    lines = []
    for name in given.names or SETS:
        found = [dict(_draw(SETS[name], seed, given.folder)) for seed in range(given.first, given.first + given.draws)]
        lines.append(_line(name, found))
        print(lines[-1], flush=True)
    if not given.names:
        RESULT.write_text(_page(lines, given), encoding="utf-8")


def _draw(one: Set, seed: int, folder: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """By method: the metric on other samples, and seconds of CPU."""
    features, classes, other = load(one.source, folder)
    order = pictures.stratified(classes, seed)
    fitted, measured = order[: one.count], order[one.count :][:MEASURED]
    targets = classes if one.targets is None else one.targets(classes, other)
    metric = metrics.get(METRIC[one.task], one.task)
    for name, fit in METHODS.items():
        began = time.process_time()
        predicted = fit(one.task, features[fitted], targets[fitted], features[measured], seed)
        seconds = time.process_time() - began
        yield name, (metric.function(from_logits(one.task, targets[measured], predicted)), seconds)


class _Rows:
    """Features in memory, as the cache gives them."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows, self.shape = rows, rows.shape

    def read(self) -> NDArray[np.float32]:
        return self.rows


def _zoo(task: Task, features: NDArray[Any], targets: NDArray[Any], others: NDArray[Any], seed: int) -> NDArray[Any]:
    rows: Any = _Rows(features)
    pool = pools.crossed(targets, np.arange(len(targets)), [[rows]], [rows], seed, "samples")
    assert pool is not None
    outputs = int(targets.max()) + 1 if task is Task.CLASSIFICATION else targets.shape[1]
    model = AdaptedModel.build(_SMALL, outputs, task=task)
    solved = solved_head.solve(pool, model, metrics.get(METRIC[task], task), build({}), torch.device("cpu"))
    return model.predicted(sweep.logits(solved.candidate, others))


_SMALL = backbones.load(registry.resolve("timm/test_vit.r160_in1k"), "random")
"""What a head is built for: its features are never asked."""


def _scikit_learn(scaler: type) -> Callable[[Task, NDArray[Any], NDArray[Any], NDArray[Any], int], NDArray[Any]]:
    def fit(task: Task, features: NDArray[Any], targets: NDArray[Any], others: NDArray[Any], seed: int) -> NDArray[Any]:
        if task is Task.REGRESSION:
            model: Pipeline = make_pipeline(scaler(), RidgeCV(np.logspace(-2, 6, STRENGTHS)))
            return np.asarray(model.fit(features, targets).predict(others)).reshape(len(others), -1)
        logistic: Any = LogisticRegressionCV(Cs=STRENGTHS, cv=5, max_iter=200)
        model = make_pipeline(scaler(), OneVsRestClassifier(logistic) if task is Task.MULTILABEL else logistic)
        return np.asarray(model.fit(features, targets).decision_function(others))

    return fit


METHODS = {"zoo": _zoo, "standardised": _scikit_learn(StandardScaler), "as they are": _scikit_learn(FunctionTransformer)}


def load(source: str, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]:
    """Features `[N, D]`, classes `[N]`, and another quantity `[N]`; computed once and kept in `folder`."""
    path = folder / f"{source}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **dict(zip(("x", "y", "other"), _SOURCES[source](), strict=True)))
    with np.load(path) as found:
        return found["x"].astype(np.float32), found["y"], found["other"]


def _images(size: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    backbone = backbones.load(registry.resolve("tf_efficientnet_lite0"), None, image_size=size).eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), 64):
            batch = [backbone.preprocess.prepare(Image.fromarray(image).convert("RGB")) for image in images[start : start + 64]]
            found.append(backbone(backbone.preprocess.ready(torch.stack(batch))).numpy())
    return np.concatenate(found)


def _digits() -> tuple[NDArray[Any], ...]:
    images, classes = pictures._digits()
    return _images(64, images), classes, images.reshape(len(images), -1).mean(1)


def _fashion() -> tuple[NDArray[Any], ...]:
    images, classes = pictures._fashion("train")
    kept = pictures.stratified(classes, 0)[:9_000]
    return _images(128, images[kept]), classes[kept], images[kept].reshape(len(kept), -1).mean(1)


def _fortunes() -> tuple[NDArray[Any], ...]:
    found, subjects = texts.read()
    backbone = backbones.load(registry.resolve("all-MiniLM-L6-v2"), None, max_length=64).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(found), 64):
            batch = [backbone.preprocess.prepare(text) for text in found[start : start + 64]]
            rows.append(backbone(backbone.preprocess.collate(batch)).numpy())
    return np.concatenate(rows), np.unique(subjects, return_inverse=True)[1], np.log([len(text) for text in found])


def _synthetic() -> tuple[NDArray[Any], ...]:
    """A hundred classes a little apart in a noise that is the larger the earlier the column."""
    generator = np.random.default_rng(7)
    means, classes = generator.normal(size=(100, 384)) * 0.22, np.arange(6_000) % 100
    noise = generator.normal(size=(6_000, 384)) * np.linspace(1.5, 0.2, 384)
    return means[classes] + noise, classes, noise[:, 0]


_SOURCES = {"digits": _digits, "fashion": _fashion, "fortunes": _fortunes, "synthetic": _synthetic}


def _line(name: str, found: list[dict[str, tuple[float, float]]]) -> str:
    cells = []
    for method in METHODS:
        values = [one[method][0] for one in found]
        cells.append(f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
    seconds = [f"{np.mean([one[method][1] for one in found]):.1f}" for method in METHODS]
    return f"| {name} | {METRIC[SETS[name].task]} | {' | '.join(cells)} | {' | '.join(seconds)} |"


def _page(lines: list[str], given: argparse.Namespace) -> str:
    return f"""# The solved head and scikit-learn's

`python -m benchmarks.heads --first {given.first}`: the mean of {given.draws} draws, with the least and the largest; seconds of CPU, one
thread. scikit-learn's are `LogisticRegressionCV` or `RidgeCV`, {STRENGTHS} strengths, on standardised features and on features as they
are. Of rmse, lower is better.

| samples | metric | zoo | standardised | as they are | zoo, s | standardised, s | as they are, s |
|---|---|---|---|---|---:|---:|---:|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
