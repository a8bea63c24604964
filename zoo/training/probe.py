"""The head of an inert backbone, solved rather than stepped: every candidate at its optimum, the best on the validation pictures kept."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zoo.adaptation.model import AdaptedModel
from zoo.cache import Rows
from zoo.config import FinetuneConfig
from zoo.data.splits import Splits
from zoo.errors import NonFinite
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.evaluation.outputs import Outputs, Undefined
from zoo.training import solving
from zoo.training.checkpoint import Best
from zoo.training.solving import Candidate
from zoo.training.trackers import Tracker

IN_MEMORY = 1 << 30
"""Bytes of features that are read into memory as one array; more are read block by block at every pass."""


SMALL = 1 << 28
"""Multiplications in one pass over the features up to which one thread solves."""


@dataclass(frozen=True)
class Solved:
    """The candidate that was chosen."""

    candidate: Candidate
    best: Best
    """Its value on the validation pictures, and its number among the candidates, from 1."""
    count: int
    """How many there were."""
    logits: NDArray[np.float32]
    """`[N, C]`, of the validation pictures."""
    seconds: float

    @property
    def chosen(self) -> str:
        """How it was chosen, for people."""
        one, best = self.candidate, self.best
        return (
            f"the best of {self.count} solutions by {best.metric} on the validation pictures ({best.value:.4f}; of equals, the one of "
            f"lower log-loss): features {one.scaling}, L2 strength {one.strength:.3g}"
        )


def solve(
    train: Sequence[Rows],
    val: Rows,
    splits: Splits,
    metric: Metric,
    config: FinetuneConfig,
    device: torch.device,
    trackers: list[Tracker],
) -> Solved:
    """Solve the linear head for every scaling of the features and strength of the L2 penalty, and choose by validation.

    Args:
        train: features `[N, D]` of the training pictures, one for each view; all views count.
        val: features `[M, D]` of the validation pictures.
        trackers: are told of each candidate, as of an evaluation.

    Raises: NonFinite if the metric is undefined for every candidate.
    """
    began = time.perf_counter()
    targets = np.tile(splits.train.targets, len(train))
    classes = len(splits.labels)
    weights = solving.balanced(targets, classes) if config.data.class_weights == "balanced" else None
    validation = val[:]
    best = Best(metric.name, metric.higher_is_better)
    chosen: tuple[Candidate, NDArray[np.float32]] | None = None
    least, count = math.inf, 0
    with _threads(len(targets) * validation.shape[1] * classes):
        for candidate in solving.sweep(blocks(train), targets, classes, class_weights=weights, device=device):
            count += 1
            logits = solving.logits(candidate, validation)
            outputs = Outputs.from_logits(splits.val.targets, logits)
            value, loss = _value(metric, outputs), _value(metrics.get("log_loss"), outputs)
            tie = value is not None and value == best.value and loss is not None and loss < least
            improved = best.better(value) or tie
            if improved:
                best.value, best.step, least = value, count, math.inf if loss is None else loss
                chosen = candidate, logits
            values = {metric.name: value, "log_loss": loss}
            record = _record(candidate, count, values, improved, time.perf_counter() - began)
            for tracker in trackers:
                tracker.evaluation(count, record)
    if chosen is None:
        raise NonFinite(f"{metric.name} is undefined for every solution on the validation pictures; choose by another --metric")
    return Solved(chosen[0], best, count, chosen[1], time.perf_counter() - began)


def blocks(views: Sequence[Rows]) -> list[NDArray[np.float32]]:
    """The features of all views: as arrays in memory where they are small enough, else as what reads them when it is asked."""
    if sum(math.prod(rows.shape) * 4 for rows in views) <= IN_MEMORY:
        return [rows[:] for rows in views]
    return list(views)  # type: ignore[arg-type]  # Rows has what the solver uses of an array: len, shape, slices


@torch.no_grad()
def put(candidate: Candidate, head: nn.Linear) -> None:
    """Make the head the solution."""
    head.weight.copy_(torch.as_tensor(candidate.weight))
    head.bias.copy_(torch.as_tensor(candidate.bias))


def difference(model: AdaptedModel, images: torch.Tensor, logits: NDArray[np.float32]) -> float:
    """The largest difference between `logits` `[n, C]` and those that the whole network gives for the pictures, as a share of the
    largest logit (or of 1)."""
    with torch.inference_mode():
        own = model(images).cpu().numpy()
    return float(np.abs(own - logits).max() / max(1.0, np.abs(own).max()))


@contextlib.contextmanager
def _threads(products: int) -> Iterator[None]:
    """One thread for small problems: threads that meet a thousand times a second save a quarter of the time on an idle machine, and cost
    twenty times as much on one that is busy with something else (measured, 2,000 x 1,280 features, 10 classes, 2 cores)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _value(metric: Metric, outputs: Outputs) -> float | None:
    try:
        return metric.function(outputs)
    except Undefined:
        return None


def _record(candidate: Candidate, number: int, values: dict[str, float | None], improved: bool, seconds: float) -> dict[str, Any]:
    return {
        "step": number,
        "scaling": candidate.scaling,
        "strength": candidate.strength,
        "train_loss": candidate.objective,
        "converged": candidate.converged,
        "metrics": values,
        "best": improved,
        "seconds": seconds,
    }
