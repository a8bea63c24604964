"""Minimise a loss of a linear layer under one strength of regularisation after another.

The strongest is solved in a few steps from zero. Each of the others starts from the line through the two solutions before it, over the
logarithm of the strength: where the classes are separable, solutions grow along such lines (2,000 x 1,280 features of digits, 39
solutions: 362 steps, and 1,006 from the last solution alone). A path beats a batch of all strengths, whose products with the features
are larger and thus 1.4 times as fast a strength: from zero, weak strengths take hundreds of steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
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
    """Mean losses over weighted rows, plus `strength / 2` times the squared weight; the bias is free.

    There are K of them over the same rows, one for each row of `weights [K, N] float32`: the rows' shares, of sum 1. A row that is left
    out has 0. So a pass over the rows serves all of them: products with many layers at once are three times as fast as with one after
    another (ten classes, 1,280 features, one core).

    `targets`: classes `[N] int64` for `softmax`; `[C, N] float32` for `logistic` (0 or 1, summed over labels) and `squared` (halved,
    summed over outputs).
    """

    def __init__(self, design: Design, loss: Loss, targets: Tensor, weights: Tensor) -> None:
        self.design, self.targets, self.weights = design, targets, weights
        self._loss: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] = LOSSES[loss]
        self.penalty = torch.zeros_like(design.curvature)

    def set_strength(self, strength: float) -> None:
        """Regularise by `strength` from now on."""
        self.penalty = torch.full_like(self.design.curvature, strength)
        self.penalty[-1] = 0

    def inverse_curvature(self, found: Evaluation) -> Tensor:
        """The inverse of the diagonal that stands for the curvature where `found` was evaluated, `[R + 1]`."""
        return 1 / (max(found.bend, 1e-6) * self.design.curvature + self.penalty)

    def __call__(self, layers: Tensor, which: Sequence[int]) -> list[Evaluation]:
        """Those of the numbers `which`, each at a layer of its own, `[A, C, R + 1]`."""
        weights = self.weights[list(which)]
        values = torch.zeros(len(layers), dtype=torch.float64, device=layers.device)
        bends = torch.zeros_like(values)

        def block_loss(place: slice, outputs: Tensor) -> Tensor:
            losses, derivatives, second = self._loss(outputs, self.targets[..., place], weights[:, place])
            values.add_(losses)
            bends.add_(second / outputs.shape[1])
            return derivatives

        gradients = self.design.differentiate(layers, block_loss).addcmul_(self.penalty, layers)
        values += 0.5 * (self.penalty * layers.square()).sum((1, 2), dtype=torch.float64)
        return [Evaluation(*one) for one in zip(values.tolist(), gradients, bends.tolist(), strict=True)]


@dataclass(frozen=True)
class Evaluation:
    """An objective at a layer."""

    value: float
    gradient: Tensor
    bend: float
    """Mean second derivative of the loss by an output."""


def solve_path(objective: Objective, num_outputs: int, strengths: Sequence[float], tolerance: float) -> Iterator[list[Solution]]:
    """The minima of all K objectives for each strength, in the order given; strongest first is fastest."""
    curvature = objective.design.curvature
    count = len(objective.weights)
    layers = before = torch.zeros(count, num_outputs, len(curvature), device=curvature.device)
    rate = 0.0  # of the last change of strength, by its logarithm
    for index, strength in enumerate(strengths):
        objective.set_strength(strength)
        starts, here = list(layers), objective(layers, range(count))
        change = math.log(strength / strengths[index - 1])
        if index > 1 and rate * change > 0:
            ahead = torch.add(layers, layers - before, alpha=change / rate)
            for one, there in enumerate(objective(ahead, range(count))):
                if there.value < here[one].value:
                    starts[one], here[one] = ahead[one], there
        solutions = _side_by_side(objective, starts, here, strength, tolerance)
        before, layers, rate = layers, torch.stack([one.layer for one in solutions]), change
        yield solutions


def solve(objective: Objective, starts: Tensor, strength: float, tolerance: float) -> list[Solution]:
    """The minima for one strength, from layers near them, `[K, C, R + 1]`."""
    objective.set_strength(strength)
    return _side_by_side(objective, list(starts), objective(starts, range(len(starts))), strength, tolerance)


_Search = Generator[Tensor, Evaluation, Solution]
"""Gives the layers that it wants to be evaluated, one after another, and in the end the minimum."""


def _side_by_side(
    objective: Objective, starts: Sequence[Tensor], here: Sequence[Evaluation], strength: float, tolerance: float
) -> list[Solution]:
    """All K searches at once: what they ask for is evaluated in one pass over the rows."""
    searches = [_minimise(objective, *one, strength, tolerance) for one in zip(starts, here, strict=True)]
    found: dict[int, Solution] = {}
    asked: dict[int, Tensor] = {}

    def go_on(which: int, told: Evaluation | None) -> None:
        asked.pop(which, None)
        try:
            asked[which] = next(searches[which]) if told is None else searches[which].send(told)
        except StopIteration as end:
            found[which] = end.value

    for which in range(len(searches)):
        go_on(which, None)
    while asked:
        members = list(asked)
        for which, told in zip(members, objective(torch.stack([asked[one] for one in members]), members), strict=True):
            go_on(which, told)
    return [found[which] for which in range(len(searches))]


def _minimise(objective: Objective, layer: Tensor, here: Evaluation, strength: float, tolerance: float) -> _Search:
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
        there = yield trial
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
    """Cross-entropies of outputs `[A, C, B]`, classes `[B]` and weights `[A, B]`: their weighted sums `[A]`, derivatives `[A, C, B]`, and
    the weighted sums of their second derivatives, `[A]`."""
    logs = torch.log_softmax(outputs, 1)
    columns = torch.arange(len(classes), device=classes.device)
    losses = -(logs[:, classes, columns] * weights).sum(-1, dtype=torch.float64)
    shares = logs.exp_()
    second = ((shares - shares.square()).sum(1) * weights).sum(-1, dtype=torch.float64)
    shares[:, classes, columns] -= 1
    return losses, shares.mul_(weights[:, None]), second


def _logistic(outputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Binary cross-entropies, like `_softmax`; targets `[C, B]`."""
    entropies = F.binary_cross_entropy_with_logits(outputs, targets.expand_as(outputs), reduction="none")
    losses = (entropies * weights[:, None]).sum((1, 2), dtype=torch.float64)
    shares = outputs.sigmoid_()
    second = ((shares - shares.square()).sum(1) * weights).sum(-1, dtype=torch.float64)
    return losses, (shares - targets).mul_(weights[:, None]), second


def _squared(outputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the squared errors, like `_logistic`. Their curvature is the design's, so the first step is the closed form of ridge."""
    errors = outputs.sub_(targets)
    second = outputs.shape[1] * weights.sum(-1, dtype=torch.float64)
    return 0.5 * (errors.square() * weights[:, None]).sum((1, 2), dtype=torch.float64), errors * weights[:, None], second


LOSSES = {"softmax": _softmax, "logistic": _logistic, "squared": _squared}
