"""What a linear head is solved on: the rows under one scaling, their targets and weights, all checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ConfigError, DataError, UnknownName
from zoo.training.probe.design import Design, Facts, FeatureRows, Scaling
from zoo.training.probe.path import Loss, Objective, Solution

Features = NDArray[Any] | Sequence[NDArray[Any]]
"""`[N, D] float32`, an array or a memory map, or a list of such blocks of rows. Narrower floats are widened block by block."""
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)


@dataclass(frozen=True)
class Candidate:
    """A linear layer on the raw features, and how it was found."""

    scaling: Scaling
    strength: float
    """Of the penalty `strength / 2 * ||W||^2`, W being the weight on the scaled features, against the mean loss."""
    weight: NDArray[np.float32]
    """`[C, D]`."""
    bias: NDArray[np.float32]
    """`[C]`."""
    iterations: int
    converged: bool
    objective: float
    """Mean loss and penalty, in nats for the logarithmic losses. For `squared`, of targets with unit variance."""


@dataclass(frozen=True)
class Problem:
    """The rows under one scaling, and what is fitted to them."""

    design: Design
    scaling: Scaling
    loss: Loss
    targets: Tensor
    """As `Objective` takes them."""
    weights: NDArray[np.float64]
    """`[N]`: what each row counts."""
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    """`[C]`, or `[1]`: the fitted outputs times `scale`, plus `offset`, are those of the targets as they were given."""

    def objective(self, without: Sequence[slice] = (slice(0, 0),)) -> Objective:
        """As many as there are slices, each over all rows but these."""
        weights = np.tile(self.weights, (len(without), 1))
        for row, left_out in zip(weights, without, strict=True):
            row[left_out] = 0
        shares = torch.tensor(weights / weights.sum(1, keepdims=True), dtype=torch.float32, device=self.targets.device)
        return Objective(self.design, self.loss, self.targets, shares)

    def candidate(self, found: Solution) -> Candidate:
        """A solution as a layer on the raw features."""
        weight, bias = (tensor.cpu().numpy() for tensor in self.design.folded(found.layer))
        return Candidate(
            scaling=self.scaling,
            strength=found.strength,
            weight=(weight * self.scale[:, None]).astype(np.float32),
            bias=(bias * self.scale + self.offset).astype(np.float32),
            iterations=found.iterations,
            converged=found.converged,
            objective=found.objective,
        )


def problems(
    features: Features,
    targets: NDArray[Any],
    num_classes: int,
    loss: Loss,
    strengths: Sequence[float],
    scalings: Sequence[Scaling],
    class_weights: NDArray[Any] | None,
    device: torch.device | str,
    folds: int = 1,
) -> Iterator[Problem]:
    """One for each scaling, in their order, to be solved for so many folds. Arguments and errors: see `zoo.training.probe.sweep.sweep`."""
    arrays = [features] if isinstance(features, np.ndarray) else list(features)
    _check_options(strengths, scalings, loss, class_weights, num_classes)
    _check_shapes(arrays, targets)
    _check_targets(targets, num_classes, loss)
    place = torch.device(device)
    rows = FeatureRows(arrays, num_classes * folds, place)
    facts = Facts.of(rows)
    weights = np.ones(rows.count) if class_weights is None else np.asarray(class_weights, dtype=np.float64)[targets]
    shares = torch.tensor(weights / weights.sum(), dtype=torch.float32, device=place)
    prepared, offset, scale = _prepare(targets, loss)
    for scaling in scalings:
        yield Problem(Design(rows, facts, scaling, shares), scaling, loss, prepared.to(place), weights, offset, scale)


def _prepare(targets: NDArray[Any], loss: Loss) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Targets as the losses take them, and the offset and scale `[C]` that the layer's outputs need afterwards.

    Targets of `squared` are brought to mean 0 and variance 1: else the tolerance would mean something else in metres than in miles.
    """
    if loss == "softmax":
        return torch.tensor(targets, dtype=torch.int64), np.zeros(1), np.ones(1)
    offset, scale = np.zeros(1), np.ones(1)
    if loss == "squared":
        offset, scale = targets.mean(0, dtype=np.float64), targets.std(0, dtype=np.float64)
        scale = np.where(scale > 0, scale, 1.0)
    return torch.tensor(((targets - offset) / scale).T.copy(), dtype=torch.float32), offset, scale


def _check_options(
    strengths: Sequence[float], scalings: Sequence[Scaling], loss: Loss, class_weights: NDArray[Any] | None, num_classes: int
) -> None:
    for scaling in scalings:
        if scaling not in SCALINGS:
            raise UnknownName("scaling", scaling, SCALINGS)
    if loss not in get_args(Loss):
        raise UnknownName("loss", loss, get_args(Loss))
    for strength in strengths:
        if not 0 < strength < math.inf:
            raise ConfigError(f"strength {strength} of the penalty: it is above 0, and finite")
    if class_weights is not None:
        if loss != "softmax":
            raise ConfigError(f"class_weights weigh the rows of a classification; leave them out for the loss {loss!r}")
        if (
            np.shape(class_weights) != (num_classes,)
            or not np.all(np.isfinite(class_weights))
            or np.min(class_weights) < 0
            or not np.any(class_weights)
        ):
            raise ConfigError(
                f"class_weights of shape {np.shape(class_weights)}: give {num_classes} finite numbers, none below 0, not all 0"
            )


def _check_shapes(arrays: list[NDArray[Any]], targets: NDArray[Any]) -> None:
    count = sum(map(len, arrays))
    if count == 0:
        raise DataError("no rows of features to fit a head to; look at the training split")
    for index, (first, second) in enumerate(pairwise(arrays)):
        if first.shape[1:] != second.shape[1:]:
            raise DataError(
                f"blocks {index} and {index + 1} of the features have rows of {first.shape[1:]} and {second.shape[1:]}"
            )
    if arrays[0].ndim != 2:
        raise DataError(f"features of shape {arrays[0].shape}: give rows of pooled features, [N, D]")
    if len(targets) != count:
        raise DataError(f"{count} rows of features and {len(targets)} targets; give one target a row")


def _check_targets(targets: NDArray[Any], num_classes: int, loss: Loss) -> None:
    expected = targets.shape[:1] if loss == "softmax" else (len(targets), num_classes)
    if targets.shape != expected:
        raise DataError(f"targets of shape {targets.shape}; the loss {loss!r} takes {expected}")
    right, meaning = np.isfinite(targets), "finite"
    if loss == "softmax":
        whole = targets.dtype.kind in "iu"
        right, meaning = (targets >= 0) & (targets < num_classes) & whole, f"a class of 0..{num_classes - 1}, an integer"
    elif loss == "logistic":
        right, meaning = np.isin(targets, (0, 1)), "0 or 1 for each label"
    wrong = ~right.reshape(len(targets), -1).all(1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"target of row {row} is {targets[row]}; it is {meaning}")
    if loss == "softmax" and targets.min() == targets.max():
        raise DataError(f"all {len(targets)} rows are of class {targets[0]}; a head needs two classes to tell apart")
