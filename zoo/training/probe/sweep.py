"""Linear heads solved instead of stepped: for frozen features, the regularised optimum itself, for many strengths and scalings.

A sweep gives candidates and its caller judges them, on rows that they were not fitted to: which strength and scaling is best differs
between data sets by more than most choices in fine-tuning (Kornblith et al. 2019, arxiv.org/abs/1805.08974; Radford et al. 2021,
arxiv.org/abs/2103.00020). Every candidate is a linear layer on the raw features, its scaling folded in: backbone and `nn.Linear` are the
whole model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.training.probe.design import BLOCK_ELEMENTS, Scaling
from zoo.training.probe.path import Loss, Solution, solve, solve_path
from zoo.training.probe.problem import SCALINGS, Candidate, Features, Problem, problems

__all__ = [
    "FOLD_TOLERANCE",
    "SCALINGS",
    "STRENGTHS",
    "TOLERANCE",
    "Candidate",
    "Features",
    "HeldOut",
    "balanced",
    "hold_out",
    "logits",
    "sweep",
]

STRENGTHS = tuple(10 ** (1 - 7 * index / 12) for index in range(13))
"""10 to 1e-6, a factor of 3.8 apart. The features have variance 1, and the largest eigenvalues of their moments are some 10 to 1,000:
10 leaves the direction of the class means and little else, and 100 was far from the best on all that was tried; below 1e-6 the
penalty is lost in float32. Radford et al. sweep 12 decades (96 values) and Kornblith et al. 11 (45), of unscaled features."""
TOLERANCE = 1e-3
"""A tighter one changed no validation accuracy by more than its noise (2,000 x 1,280 features of digits)."""
FOLD_TOLERANCE = 1e-2
"""Of what is solved only to be judged: an excess of some 5e-5 nats changes no choice, and takes a third of the steps."""


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
    for problem in problems(features, targets, num_classes, loss, strengths, scalings, class_weights, device):
        for (found,) in solve_path(problem.objective(), num_classes, sorted(strengths, reverse=True), tolerance):
            yield problem.candidate(found)


@dataclass(frozen=True)
class HeldOut:
    """What the solutions for one scaling and strength, each without one fold of the rows, give for held-out rows."""

    scaling: Scaling
    strength: float
    logits: NDArray[np.float32]
    """`[M, C]`, fold after fold; regressed values after `squared`."""
    iterations: int
    """Of all folds together."""
    converged: bool
    """Whether all are."""
    objective: float
    """Mean over the folds."""
    _solutions: list[Solution] = field(repr=False)
    _folds: _Folds = field(repr=False)

    def exact(self, tolerance: float = TOLERANCE) -> HeldOut:
        """The same of solutions as good as those of a sweep."""
        return self._folds.exact(self._solutions, tolerance)

    def refit(self, tolerance: float = TOLERANCE) -> Candidate:
        """The solution of this scaling and strength on all rows, from the mean of those of the folds."""
        start = torch.stack([one.layer for one in self._solutions]).mean(0, keepdim=True)
        problem = self._folds.problem
        problem.design.copy()
        (found,) = solve(problem.objective(), start, self.strength, tolerance)
        return problem.candidate(found)


@dataclass(frozen=True)
class _Folds:
    """A problem without one fold of its rows after another."""

    problem: Problem
    folds: Sequence[slice]
    held: Sequence[Features]

    def exact(self, solutions: Sequence[Solution], tolerance: float) -> HeldOut:
        """From solutions to those of another tolerance."""
        self.problem.design.copy()
        starts = torch.stack([one.layer for one in solutions])
        return self.held_out(solve(self.problem.objective(self.folds), starts, solutions[0].strength, tolerance))

    def path(self, num_classes: int, strengths: Sequence[float], tolerance: float) -> Iterator[HeldOut]:
        """All folds side by side, one strength after another."""
        return map(self.held_out, solve_path(self.problem.objective(self.folds), num_classes, strengths, tolerance))

    def held_out(self, solutions: Sequence[Solution]) -> HeldOut:
        """What the solutions, one a fold, predict."""
        fitted = [self.problem.candidate(one) for one in solutions]
        return HeldOut(
            scaling=self.problem.scaling,
            strength=fitted[0].strength,
            logits=np.concatenate([logits(one, rows) for one, rows in zip(fitted, self.held, strict=True)]),
            iterations=sum(one.iterations for one in fitted),
            converged=all(one.converged for one in fitted),
            objective=sum(one.objective for one in fitted) / len(fitted),
            _solutions=list(solutions),
            _folds=self,
        )


def hold_out(
    features: Features,
    targets: NDArray[Any],
    num_classes: int,
    folds: Sequence[slice],
    held: Sequence[Features],
    *,
    loss: Loss = "softmax",
    strengths: Sequence[float] = STRENGTHS,
    scalings: Sequence[Scaling] = SCALINGS,
    class_weights: NDArray[Any] | None = None,
    device: torch.device | str = "cpu",
    tolerance: float = FOLD_TOLERANCE,
) -> Iterator[Iterator[HeldOut]]:
    """Solve without one fold of the rows after another, for every scaling (the outer iterator) and strength, the strongest first.

    The folds of a scaling share its moments and eigenbasis, which know no targets, and are solved side by side: whoever has seen enough
    strengths leaves off the inner iterator. What can be refitted takes little memory.

    Args:
        folds: the rows of `features` that each fold leaves out; an empty slice leaves out none.
        held: features `[M, D]` that are predicted without each fold: those of its rows, or of the same samples not augmented.
        other: as of `sweep`.

    Raises: as `sweep`.
    """
    for problem in problems(features, targets, num_classes, loss, strengths, scalings, class_weights, device, len(folds)):
        yield _Folds(problem, folds, held).path(num_classes, sorted(strengths, reverse=True), tolerance)
        problem.design.release()


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
