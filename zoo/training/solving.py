"""Linear heads solved instead of stepped: for frozen features, the regularised optimum itself, for many strengths and scalings.

A sweep gives candidates and its caller judges them on validation data: which strength and scaling is best differs between data sets
by more than most choices in fine-tuning (Kornblith et al. 2019, arxiv.org/abs/1805.08974; Radford et al. 2021, arxiv.org/abs/2103.00020).
Every candidate is a linear layer on the raw features, its scaling folded in: backbone and `nn.Linear` are the whole model.
"""

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
from zoo.training.solving_design import BLOCK_ELEMENTS, Design, Facts, Rows, Scaling
from zoo.training.solving_path import Loss, Objective, solve_path

Features = NDArray[Any] | Sequence[NDArray[Any]]
"""`[N, D] float32`, an array or a memory map, or a list of such blocks of rows. Narrower floats are widened block by block."""

STRENGTHS = tuple(10 ** (1 - 7 * index / 12) for index in range(13))
"""10 to 1e-6, a factor of 3.8 apart. The features have variance 1, and the largest eigenvalues of their moments are some 10 to 1,000:
10 leaves the direction of the class means and little else, and 100 was far from the best on all that was tried; below 1e-6 the
penalty is lost in float32. Radford et al. sweep 12 decades (96 values) and Kornblith et al. 11 (45), of unscaled features."""
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
TOLERANCE = 1e-3
"""A tighter one changed no validation accuracy by more than its noise (2,000 x 1,280 features of digits)."""


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


def sweep(
    features: Features,
    targets: NDArray[Any],
    num_classes: int,
    *,
    loss: Loss = "softmax",
    strengths: Sequence[float] = STRENGTHS,
    scalings: Sequence[Scaling] = SCALINGS,
    class_weights: NDArray[Any] | None = None,
    device: torch.device | str = "cpu",
    tolerance: float = TOLERANCE,
) -> Iterator[Candidate]:
    """Solve for every scaling and strength; the strongest of each scaling comes first. Deterministic.

    `targets`: classes `[N]` of integers in 0..num_classes - 1 for `softmax`, multinomial logistic regression; `[N, num_classes]` of
    0 and 1 for `logistic`, an independent regression a label; `[N, num_classes]` real for `squared`, ridge regression. The
    objective is the weighted mean over the rows of the loss (summed over labels or outputs; the squared error is halved) plus
    `strength / 2` times the squared weight on the scaled features; the bias is free. `class_weights [num_classes]` weigh the rows by
    their class, for `softmax` alone; see `balanced`.

    Scalings: `centred` subtracts the column means and divides by the root mean square of all that is left; `standardised` divides
    each column by its own standard deviation (a constant one has weight 0); `normalised` divides each row by its root mean square
    (its L2 norm over sqrt(D)). The last is not linear: its candidate has the root mean square of the mean norm instead of each
    row's, so its outputs are not those that were fitted.

    Solved to `tolerance`: gradient squared, over curvature, summed, is below its square, where the curvature is the features' times
    the mean second derivative of the loss. So the excess over the minimum is some `tolerance^2 / 2`, 5e-7 nats by default; it was up
    to 5e-6 for weak strengths. `converged` is False where float32 or 500 iterations did not suffice; the candidate is finite still.

    Memory beside the features, which are used in place: up to 12 D^2 floats, 20 C D for the solver's history, blocks of 4 MiB.

    Raises, once the first candidate is asked for: DataError for no rows, lengths that differ, features or targets that are not
    finite, classes out of range, one class only; ConfigError for strengths or class weights that do not fit; UnknownName.
    """
    arrays = [features] if isinstance(features, np.ndarray) else list(features)
    _check_options(strengths, scalings, loss, class_weights, num_classes)
    _check_shapes(arrays, targets)
    _check_targets(targets, num_classes, loss)
    place = torch.device(device)
    rows = Rows(arrays, num_classes, place)
    facts = Facts.of(rows)
    weights = np.ones(rows.count) if class_weights is None else np.asarray(class_weights, dtype=np.float64)[targets]
    shares = torch.tensor(weights / weights.sum(), dtype=torch.float32, device=place)
    prepared, offset, scale = _prepare(targets, loss)
    for scaling in scalings:
        design = Design(rows, facts, scaling, shares)
        objective = Objective(design, loss, prepared.to(place), shares)
        for found in solve_path(objective, num_classes, sorted(strengths, reverse=True), tolerance):
            weight, bias = (tensor.cpu().numpy() for tensor in design.folded(found.layer))
            yield Candidate(
                scaling=scaling,
                strength=found.strength,
                weight=(weight * scale[:, None]).astype(np.float32),
                bias=(bias * scale + offset).astype(np.float32),
                iterations=found.iterations,
                converged=found.converged,
                objective=found.objective,
            )


def logits(candidate: Candidate, features: Features) -> NDArray[np.float32]:
    """The layer's outputs for features `[M, D]`, `[M, C] float32`, block by block. They are regressed values after `squared`."""
    arrays = [features] if isinstance(features, np.ndarray) else list(features)
    outputs = np.empty((sum(map(len, arrays)), len(candidate.bias)), dtype=np.float32)
    start, step = 0, max(1, BLOCK_ELEMENTS // candidate.weight.shape[1])
    for array in arrays:
        for begin in range(0, len(array), step):
            part = np.asarray(array[begin : begin + step], dtype=np.float32)
            outputs[start : (start := start + len(part))] = part @ candidate.weight.T + candidate.bias
    return outputs


def balanced(targets: NDArray[Any], num_classes: int) -> NDArray[np.float64]:
    """Class weights `[C]` under which every class counts alike: `N / (C * count)`, as scikit-learn's; 0 for a class without rows."""
    counts = np.bincount(targets, minlength=num_classes)
    return np.divide(len(targets), num_classes * counts, out=np.zeros(num_classes), where=counts > 0)


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
