"""The head of an inert backbone, solved rather than stepped: every candidate at its optimum, the best on the validation samples kept."""

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
from zoo.evaluation import intervals, metrics
from zoo.evaluation.metrics import Metric
from zoo.evaluation.outputs import AnyOutputs, Undefined, from_logits
from zoo.training import solving
from zoo.training.checkpoint import Best
from zoo.training.solving import Candidate
from zoo.training.solving_path import Loss
from zoo.training.trackers import Tracker
from zoo.types import Task

LOSSES: dict[Task, Loss] = {Task.CLASSIFICATION: "softmax", Task.MULTILABEL: "logistic", Task.REGRESSION: "squared"}
"""What is made small."""
SECOND = {Task.CLASSIFICATION: "log_loss", Task.MULTILABEL: "log_loss", Task.REGRESSION: "rmse"}
"""The proper loss that decides among candidates whose metric is as good as equal."""
IN_MEMORY = 1 << 30
"""Bytes of features that are read into memory as one array; more are read block by block at every pass."""


SMALL = 1 << 28
"""Multiplications in one pass over the features up to which one thread solves."""


@dataclass(frozen=True)
class Tried:
    """A candidate on the validation samples."""

    number: int
    """Among all, from 1."""
    candidate: Candidate
    outputs: AnyOutputs
    logits: NDArray[np.float32]
    """`[N, C]`"""
    value: float
    """Of the metric."""
    loss: float
    """By the proper loss of the task (`SECOND`)."""


@dataclass(frozen=True)
class Solved:
    """The candidate that was chosen."""

    tried: Tried
    best: Best
    """Its value on the validation samples, and its number among the candidates."""
    count: int
    """How many there were."""
    seconds: float
    task: Task
    nouns: str
    """What people call the samples: `pictures`."""

    @property
    def chosen(self) -> str:
        """How it was chosen, for people."""
        one, best = self.tried.candidate, self.best
        return (
            f"solution {best.step} of {self.count}: of those within one standard error of the best by {best.metric} on the validation "
            f"{self.nouns}, the one of lowest {SECOND[self.task]} ({best.metric} {best.value:.4f}); features {one.scaling}, "
            f"L2 strength {one.strength:.3g}"
        )


def solve(
    train: Sequence[Rows],
    val: Rows,
    splits: Splits,
    model: AdaptedModel,
    metric: Metric,
    config: FinetuneConfig,
    device: torch.device,
    trackers: list[Tracker],
) -> Solved:
    """Solve the linear head of `model` for every scaling of the features and strength of the L2 penalty, and choose by validation: see
    `choose`. The model is left as it is.

    Args:
        train: features `[N, D]` of the training samples, one for each view; all views count.
        val: features `[M, D]` of the validation samples.
        trackers: are told of each candidate, as of an evaluation.

    Raises: NonFinite if the metric is undefined for every candidate.
    """
    began = time.perf_counter()
    task, classes = splits.task, len(splits.labels)
    targets = np.concatenate([model.learnt(torch.from_numpy(splits.train.targets)).numpy()] * len(train))
    weights = solving.balanced(targets, classes) if config.data.class_weights == "balanced" else None
    validation = val.read()
    second = metrics.get(SECOND[task], task)
    front: list[Tried] = []
    records: list[dict[str, Any]] = []
    with _threads(len(targets) * validation.shape[1] * classes):
        candidates = solving.sweep(blocks(train), targets, classes, loss=LOSSES[task], class_weights=weights, device=device)
        for candidate in candidates:
            logits = solving.logits(candidate, validation)
            outputs = from_logits(task, splits.val.targets, model.predicted(logits))
            value, loss = _value(metric, outputs), _value(second, outputs)
            number = len(records) + 1
            records.append(_record(candidate, number, {metric.name: value, second.name: loss}, time.perf_counter() - began))
            if value is not None and loss is not None:
                front = _front([*front, Tried(number, candidate, outputs, logits, value, loss)], metric)
    if not front:
        raise NonFinite(
            f"{metric.name} is undefined for every solution on the validation {splits.facts.kind.nouns}; choose by another --metric"
        )
    tried = choose(front, metric)
    records[tried.number - 1]["best"] = True
    for record in records:
        for tracker in trackers:
            tracker.evaluation(record["step"], record)
    best = Best(metric.name, metric.higher_is_better, tried.value, tried.number)
    return Solved(tried, best, len(records), time.perf_counter() - began, task, splits.facts.kind.nouns)


def choose(tried: Sequence[Tried], metric: Metric) -> Tried:
    """Of the candidates within one standard error of the best by the metric, the one of lowest log-loss.

    The one-standard-error rule (Breiman et al. 1984, section 3.4.3; Hastie et al. 2009, section 7.10): among so many candidates the
    highest accuracy on a few hundred samples is often a chance. Measured on the features of 12,000 samples of Fashion-MNIST
    (efficientnet_lite0, 8 draws of 2,000 to train on, 500 to choose by and 3,000 to measure on): accuracy 0.857, against 0.853 by the
    highest accuracy alone and 0.858 for the best candidate of each draw. The standard error is that of the bootstrap.
    """
    sign = 1 if metric.higher_is_better else -1
    top = max(tried, key=lambda one: (sign * one.value, -one.loss))
    interval = intervals.bootstrap([metric], top.outputs)[metric.name]
    error = 0.0 if interval.low is None or interval.high is None else (interval.high - interval.low) / (2 * 1.96)
    return min((one for one in tried if sign * (top.value - one.value) <= error), key=lambda one: one.loss)


def _front(tried: Sequence[Tried], metric: Metric) -> list[Tried]:
    """Those that no other beats both by the metric and in log-loss: only they can be chosen. Of equals, the first."""
    sign = 1 if metric.higher_is_better else -1
    kept: list[Tried] = []
    for one in sorted(tried, key=lambda one: (one.loss, -sign * one.value, one.number)):
        if not kept or sign * one.value > max(sign * other.value for other in kept):
            kept.append(one)
    return kept


def blocks(views: Sequence[Rows]) -> list[NDArray[np.float32]]:
    """The features of all views: as arrays in memory where they are small enough, else as what reads them when it is asked."""
    if sum(math.prod(rows.shape) * 4 for rows in views) <= IN_MEMORY:
        return [rows.read() for rows in views]
    return list(views)  # type: ignore[arg-type]  # Rows has what the solver uses of an array: len, shape, slices


@torch.no_grad()
def put(candidate: Candidate, model: AdaptedModel) -> None:
    """Make the head, a Linear, the solution."""
    head = model.head
    assert isinstance(head, nn.Linear)  # else the way would be another
    head.weight.copy_(torch.as_tensor(candidate.weight))
    head.bias.copy_(torch.as_tensor(candidate.bias))


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


def _value(metric: Metric, outputs: AnyOutputs) -> float | None:
    try:
        return metric.function(outputs)
    except Undefined:
        return None


def _record(candidate: Candidate, number: int, values: dict[str, float | None], seconds: float) -> dict[str, Any]:
    return {
        "step": number,
        "scaling": candidate.scaling,
        "strength": candidate.strength,
        "train_loss": candidate.objective,
        "converged": candidate.converged,
        "metrics": values,
        "best": False,
        "seconds": seconds,
    }
