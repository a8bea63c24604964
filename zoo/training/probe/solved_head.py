"""The head of an inert backbone, solved rather than stepped: every candidate at its optimum, the best on samples that it was not fitted to
kept."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from zoo import imports
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig
from zoo.errors import NonFinite
from zoo.evaluation import intervals, metrics
from zoo.evaluation.metrics import Metric
from zoo.evaluation.outputs import AnyOutputs, Undefined, from_logits
from zoo.training.checkpoint import Best
from zoo.training.probe import sweep
from zoo.training.probe.path import Loss
from zoo.training.probe.pools import Judged, Pool
from zoo.training.probe.sweep import Candidate, HeldOut
from zoo.training.trackers import Trackers
from zoo.types import Task

LOSSES: dict[Task, Loss] = {Task.CLASSIFICATION: "softmax", Task.MULTILABEL: "logistic", Task.REGRESSION: "squared"}
"""What is made small."""
SECOND = {Task.CLASSIFICATION: "log_loss", Task.MULTILABEL: "log_loss", Task.REGRESSION: "rmse"}
"""The proper loss that decides among candidates whose metric is as good as equal."""
RISES = 2
"""Weaker strengths in a row by which the proper loss rises, and the metric gets no better, after which weaker ones are left out."""
SMALL = 1 << 28
"""Multiplications in one pass over the features up to which one thread solves."""


@dataclass(frozen=True)
class Tried:
    """A candidate on the samples that it was judged by."""

    number: int
    """Among all, from 1."""
    held: HeldOut
    outputs: AnyOutputs
    value: float
    """Of the metric; NaN where it is undefined."""
    loss: float
    """By the proper loss of the task (`SECOND`)."""


@dataclass(frozen=True)
class Solved:
    """The candidate that was chosen, fitted to all rows of the pool."""

    candidate: Candidate
    judged: Judged
    """Its predictions for the samples that it was judged by."""
    best: Best
    """Its value on these, and its number among the candidates."""
    chosen: str
    """How it was chosen, for people."""
    count: int
    """How many candidates there were."""
    seconds: float


def solve(
    pool: Pool,
    model: AdaptedModel,
    metric: Metric,
    config: FinetuneConfig,
    device: torch.device,
    trackers: Trackers | None = None,
) -> Solved:
    """Solve the linear head of `model` for every scaling of the features and strength of the L2 penalty, choose by samples that were held
    out (`choose`), and solve the chosen one on all rows of `pool`. The model is left as it is.

    trackers: are told of each candidate, as of an evaluation; None: nobody is.

    Raises: NonFinite if the metric is undefined for every candidate.
    """
    began = time.perf_counter()
    imports.ahead()
    classes = model.num_outputs
    targets = model.learnt(torch.from_numpy(pool.targets)).numpy()
    weights = sweep.balanced(targets, classes) if config.data.class_weights == "balanced" else None
    second = SECOND[model.task]
    front: list[Tried] = []
    records: list[dict[str, Any]] = []
    with _threads(len(targets) * pool.width * classes):
        scalings = sweep.hold_out(
            pool.features,
            targets,
            classes,
            pool.folds,
            pool.held,
            loss=LOSSES[model.task],
            class_weights=weights,
            device="cpu" if device.type == "mps" else device,  # Apple's GPUs have no float64
            tolerance=sweep.FOLD_TOLERANCE if pool.refits else sweep.TOLERANCE,
        )
        for strengths in scalings:
            for one in _while_better((_try(held, pool, model, metric) for held in strengths), metric):
                records.append(_record(one, len(records) + 1, metric, second, time.perf_counter() - began))
                front = _front([*front, replace(one, number=len(records))], metric)
        if not front:
            raise NonFinite(f"{metric.name} is undefined for every solution {pool.words}; choose by another --metric")
        tried = choose(front, metric)
        if pool.refits:  # what is told of it is of solutions like the one that ships
            tried = replace(_try(tried.held.exact(), pool, model, metric), number=tried.number)
        candidate = tried.held.refit()
    place = tried.number - 1
    records[place] = _record(tried, tried.number, metric, second, records[place]["seconds"]) | {"best": True}
    for record in records:
        (trackers or Trackers()).evaluation(record["step"], record)
    return Solved(
        candidate=candidate,
        judged=Judged(pool.judged, tried.held.logits, pool.words),
        best=Best(metric.name, metric.higher_is_better, tried.value, tried.number),
        chosen=(
            f"solution {tried.number} of {len(records)}: of those in the 95 % interval of the best by {metric.name} {pool.words}, the one "
            f"of lowest {second} ({metric.name} {tried.value:.4f}); features {candidate.scaling}, L2 strength "
            f"{candidate.strength:.3g}" + ("; fitted to all of these samples then" if pool.refits else "")
        ),
        count=len(records),
        seconds=time.perf_counter() - began,
    )


def _try(held: HeldOut, pool: Pool, model: AdaptedModel, metric: Metric) -> Tried:
    """A candidate on the samples that it is judged by."""
    outputs = from_logits(model.task, pool.judged_targets, model.predicted(held.logits))
    return Tried(0, held, outputs, _value(metric, outputs), _value(metrics.get(SECOND[model.task], model.task), outputs))


def _while_better(tried: Iterator[Tried], metric: Metric) -> Iterator[Tried]:
    """Up to where both the proper loss and the metric are past their best: with weaker strengths, which take the most time, the loss only
    rises (39 of 2,000 samples of Fashion-MNIST: 27 solved in 0.6 of the time, the same one chosen)."""
    sign = 1 if metric.higher_is_better else -1
    losses: list[float] = []
    values: list[float] = []
    for one in tried:
        yield one
        losses.append(one.loss)
        values.append(sign * one.value)
        rises = all(before < after for before, after in itertools.pairwise(losses[-RISES - 1 :]))
        if len(losses) > RISES and rises and max(values[:-RISES]) >= max(values[-RISES:]):
            return


def choose(tried: Sequence[Tried], metric: Metric) -> Tried:
    """Of the candidates inside the 95 % interval (by bootstrap) of the best by the metric, the one of lowest log-loss.

    Among so many candidates the highest accuracy on a few hundred samples is often a chance; the log-loss tells more from the same
    samples, and is itself what a probability is worth. `docs/decisions/0013` has what this rule and others gave.
    """
    sign = 1 if metric.higher_is_better else -1
    top = max(tried, key=lambda one: (sign * one.value, -one.loss))
    interval = intervals.bootstrap([metric], top.outputs)[metric.name]
    end = interval.low if metric.higher_is_better else interval.high
    least = sign * (top.value if end is None else end)
    return min((one for one in tried if sign * one.value >= least or one is top), key=lambda one: (one.loss, -sign * one.value))


def _front(tried: Sequence[Tried], metric: Metric) -> list[Tried]:
    """Those that no other beats both by the metric and in log-loss: only they can be chosen. Of equals, the first; none for which
    either is undefined."""
    sign = 1 if metric.higher_is_better else -1
    kept: list[Tried] = []
    for one in sorted(
        (one for one in tried if not math.isnan(one.value + one.loss)), key=lambda one: (one.loss, -sign * one.value, one.number)
    ):
        if not kept or sign * one.value > max(sign * other.value for other in kept):
            kept.append(one)
    return kept


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


def _value(metric: Metric, outputs: AnyOutputs) -> float:
    try:
        return metric.function(outputs)
    except Undefined:
        return math.nan


def _record(one: Tried, number: int, metric: Metric, second: str, seconds: float) -> dict[str, Any]:
    values = {second: one.loss, metric.name: one.value}
    return {
        "step": number,
        "scaling": one.held.scaling,
        "strength": one.held.strength,
        "train_loss": one.held.objective,
        "converged": one.held.converged,
        "metrics": {name: None if math.isnan(value) else value for name, value in values.items()},
        "best": False,
        "seconds": seconds,
    }
