"""Minimise a loss of a linear layer under one strength of regularisation after another.

The strongest is solved in a few steps from zero. Each of the others starts from the line through the two solutions before it, over the
logarithm of the strength: where the classes are separable, solutions grow along such lines (2,000 x 1,280 features of digits, 39
solutions: 362 steps, and 1,006 from the last solution alone). A path beats a batch of all strengths, whose products with the features
are larger and thus 1.4 times as fast a strength: from zero, weak strengths take hundreds of steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.training.probe.design import Design

Loss = Literal["softmax", "logistic", "squared"]
HISTORY = 10  # pairs of steps and gradient changes that L-BFGS remembers, as in scikit-learn and SciPy
ITERATION_LIMIT = 500
SHRINK_LIMIT = 12  # a step shortened so often is lost in the rounding of float32
SUFFICIENT = 1e-4  # Nocedal & Wright's c1: share of the predicted decrease that a step must bring
ROUNDING = 1e-6  # relative error of a float32 loss, within which the slope decides instead (Hager & Zhang 2005, doi.org/10.1137/030601880)


@dataclass(frozen=True)
class Solution:
    """A layer `[C, R + 1]` in the basis of its design."""

    strength: float
    layer: Tensor
    iterations: int
    converged: bool
    objective: float


class Objective:
    """Mean loss over the weighted rows, plus `strength / 2` times the squared weight; the bias is free.

    `targets`: classes `[N] int64` for `softmax`; `[C, N] float32` for `logistic` (0 or 1, summed over labels) and `squared`
    (halved, summed over outputs). `weights [N] float32` are the rows' shares, of sum 1 over `ranges`: rows outside do not count.
    """

    def __init__(
        self, design: Design, loss: Loss, targets: Tensor, weights: Tensor, ranges: Sequence[slice] | None = None
    ) -> None:
        self.design, self.targets, self.weights = design, targets, weights
        self.ranges = [slice(0, len(weights))] if ranges is None else ranges
        self._loss: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] = LOSSES[loss]
        self.penalty = torch.zeros_like(design.curvature)

    def set_strength(self, strength: float) -> None:
        """Regularise by `strength` from now on."""
        self.penalty = torch.full_like(self.design.curvature, strength)
        self.penalty[-1] = 0

    def inverse_curvature(self, found: Evaluation) -> Tensor:
        """The inverse of the diagonal that stands for the curvature where `found` was evaluated, `[R + 1]`."""
        return 1 / (max(found.bend, 1e-6) * self.design.curvature + self.penalty)

    def __call__(self, layer: Tensor) -> Evaluation:
        """The objective at a layer `[C, R + 1]`."""
        value = torch.zeros((), dtype=torch.float64, device=layer.device)
        bend = torch.zeros_like(value)

        def block_loss(place: slice, outputs: Tensor) -> Tensor:
            losses, derivatives, second = self._loss(outputs, self.targets[..., place], self.weights[place])
            value.add_(losses)
            bend.add_(second / len(outputs))
            return derivatives

        gradient = self.design.differentiate(layer, block_loss, self.ranges).addcmul_(self.penalty, layer)
        value += 0.5 * (self.penalty * layer.square()).sum(dtype=torch.float64)
        return Evaluation(float(value), gradient, float(bend))


@dataclass(frozen=True)
class Evaluation:
    """An objective at a layer."""

    value: float
    gradient: Tensor
    bend: float
    """Mean second derivative of the loss by an output."""


def solve_path(objective: Objective, num_outputs: int, strengths: Sequence[float], tolerance: float) -> Iterator[Solution]:
    """The minimum for each strength, in the order given; strongest first is fastest."""
    curvature = objective.design.curvature
    layer = before = torch.zeros(num_outputs, len(curvature), device=curvature.device)
    rate = 0.0  # of the last change of strength, by its logarithm
    for index, strength in enumerate(strengths):
        objective.set_strength(strength)
        start, here = layer, objective(layer)
        change = math.log(strength / strengths[index - 1])
        if index > 1 and rate * change > 0:
            ahead = torch.add(layer, layer - before, alpha=change / rate)
            there = objective(ahead)
            if there.value < here.value:
                start, here = ahead, there
        solution = _minimise(objective, start, here, strength, tolerance)
        before, layer, rate = layer, solution.layer, change
        yield solution


def solve(objective: Objective, start: Tensor, strength: float, tolerance: float) -> Solution:
    """The minimum for one strength, from a layer near it."""
    objective.set_strength(strength)
    return _minimise(objective, start, objective(start), strength, tolerance)


def _minimise(objective: Objective, layer: Tensor, here: Evaluation, strength: float, tolerance: float) -> Solution:
    """L-BFGS with a step that starts at 1, preconditioned by the diagonal of the curvature, which shrinks as the fit gets better.

    Done when `g P g <= tolerance^2`, P being the inverse of that diagonal: about twice the excess over the minimum.
    """
    inverse = objective.inverse_curvature(here)
    pairs: deque[_Pair] = deque(maxlen=HISTORY)
    direction, step, shrinks = -inverse * here.gradient, 1.0, 0
    for iteration in range(ITERATION_LIMIT + 1):
        converged = _dot(here.gradient * inverse, here.gradient) <= tolerance**2
        if converged or shrinks == SHRINK_LIMIT or iteration == ITERATION_LIMIT:
            break
        trial = torch.add(layer, direction, alpha=step)
        there = objective(trial)
        slope, slope_there = _dot(here.gradient, direction), _dot(there.gradient, direction)
        lower = there.value <= here.value + SUFFICIENT * step * slope
        level = there.value <= here.value + ROUNDING * abs(here.value) and slope_there <= (2 * SUFFICIENT - 1) * slope
        if lower or level:
            pair = _Pair(direction * step, there.gradient - here.gradient)
            if pair.product > 0:  # it is, but for rounding: the objective is convex
                pairs.append(pair)
            layer, here, inverse = trial, there, objective.inverse_curvature(there)
            direction, step, shrinks = _newton_like(here.gradient, inverse, pairs), 1.0, 0
        else:  # to where the slope would vanish if it changed evenly
            step *= min(0.7, max(0.1, slope / (slope - slope_there))) if slope_there > slope else 0.1
            shrinks += 1
    return Solution(strength, layer, iteration, converged, here.value)


class _Pair:
    """A step, and what it did to the gradient."""

    def __init__(self, move: Tensor, change: Tensor) -> None:
        self.move, self.change, self.product = move, change, _dot(move, change)


def _newton_like(gradient: Tensor, inverse: Tensor, pairs: deque[_Pair]) -> Tensor:
    """The direction of L-BFGS (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.4)."""
    vector, shares = -gradient, []
    for pair in reversed(pairs):
        shares.append(_dot(pair.move, vector) / pair.product)
        vector.sub_(pair.change, alpha=shares[-1])
    vector *= inverse
    if pairs:
        vector *= pairs[-1].product / _dot(pairs[-1].change * inverse, pairs[-1].change)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        vector.add_(pair.move, alpha=share - _dot(pair.change, vector) / pair.product)
    return vector


def _dot(first: Tensor, second: Tensor) -> float:
    return float(torch.dot(first.flatten(), second.flatten()))


def _softmax(outputs: Tensor, classes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy: its weighted sum, derivatives `[C, B]`, and the weighted sum of its second derivatives."""
    logs = torch.log_softmax(outputs, 0)
    columns = torch.arange(len(classes), device=classes.device)
    losses = -(logs[classes, columns] * weights).sum(dtype=torch.float64)
    shares = logs.exp_()
    second = ((shares - shares.square()).sum(0) * weights).sum(dtype=torch.float64)
    shares[classes, columns] -= 1
    return losses, shares.mul_(weights), second


def _logistic(outputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Binary cross-entropy, like `_softmax`."""
    losses = (F.binary_cross_entropy_with_logits(outputs, targets, reduction="none") * weights).sum(dtype=torch.float64)
    shares = outputs.sigmoid_()
    second = ((shares - shares.square()).sum(0) * weights).sum(dtype=torch.float64)
    return losses, (shares - targets).mul_(weights), second


def _squared(outputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the squared error, like `_softmax`. Its curvature is the design's, so the first step is the closed form of ridge."""
    errors = outputs.sub_(targets)
    second = len(outputs) * weights.sum(dtype=torch.float64)
    return 0.5 * (errors.square() * weights).sum(dtype=torch.float64), errors * weights, second


LOSSES = {"softmax": _softmax, "logistic": _logistic, "squared": _squared}
