"""What a metric looks at: the true classes and the model's outputs, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError, NonFinite

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Undefined(Exception):
    """A metric has no value for these outputs; the message says why. Never leaves the evaluation: it becomes a value of None."""


@dataclass(frozen=True)
class Outputs:
    """N pictures with their true class and what the model said, among C classes. Build it with one of the `from_...` methods."""

    targets: Ints
    """`[N] int64` in 0..C-1."""
    predictions: Ints
    """`[N] int64`, the most probable class; the first one of equals."""
    num_classes: int
    """C."""
    log_probabilities: Floats | None = None
    """`[N, C] float64`, natural logarithms; None where only predictions are known."""

    @classmethod
    def from_logits(cls, targets: ArrayLike, logits: ArrayLike) -> Outputs:
        """From `[N]` whole numbers and `[N, C]` logits.

        Raises: DataError if shapes or targets do not fit; NonFinite if a logit is NaN or infinite.
        """
        scores = _matrix(logits, "logits")
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(bad):
            raise NonFinite(
                f"the model's outputs are not finite for {len(bad)} of {len(scores)} pictures (first: number {bad[0]}); "
                "lower --lr, or use --precision no"
            )
        checked = _indices(targets, "targets", len(scores), scores.shape[1])
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return cls(checked, scores.argmax(axis=1), scores.shape[1], log_probabilities)

    @classmethod
    def from_probabilities(cls, targets: ArrayLike, probabilities: ArrayLike) -> Outputs:
        """From `[N]` whole numbers and `[N, C]` probabilities, whose rows sum to 1 (to 1e-3, float32 sums included).

        A probability of 0 counts as 2.2e-16, as in scikit-learn's `log_loss`, so that log-loss is finite.
        Raises: DataError.
        """
        shares = _matrix(probabilities, "probabilities")
        if not (np.isfinite(shares).all() and (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=1e-3)):
            raise DataError("probabilities are numbers of 0 or more whose rows sum to 1")
        checked = _indices(targets, "targets", len(shares), shares.shape[1])
        log_probabilities = np.log(np.clip(shares, np.finfo(np.float64).eps, 1))
        return cls(checked, shares.argmax(axis=1), shares.shape[1], log_probabilities)

    @classmethod
    def from_predictions(cls, targets: ArrayLike, predictions: ArrayLike, num_classes: int) -> Outputs:
        """From `[N]` and `[N]` whole numbers: enough for the metrics that need no probabilities. Raises: DataError."""
        length = len(np.asarray(predictions))
        return cls(
            _indices(targets, "targets", length, num_classes),
            _indices(predictions, "predictions", length, num_classes),
            num_classes,
        )

    @property
    def scores(self) -> Floats:
        """`log_probabilities`, where a metric needs them. Raises: DataError where only predictions are known."""
        if self.log_probabilities is None:
            raise DataError("this metric needs probabilities; only predictions are given")
        return self.log_probabilities

    @cached_property
    def probabilities(self) -> Floats:
        """`[N, C] float64`; rows sum to 1. Raises: DataError where only predictions are known."""
        return np.asarray(np.exp(self.scores), dtype=np.float64)

    @cached_property
    def correct(self) -> Floats:
        """`[N] float64`: 1 where the prediction is the target, else 0."""
        return np.asarray(self.predictions == self.targets, dtype=np.float64)

    @cached_property
    def support(self) -> Ints:
        """`[C] int64`: how many pictures each class has."""
        return np.bincount(self.targets, minlength=self.num_classes)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Ints) -> Outputs:
        """The outputs of these rows, repetitions included."""
        scores = None if self.log_probabilities is None else self.log_probabilities[rows]
        return Outputs(self.targets[rows], self.predictions[rows], self.num_classes, scores)


def _matrix(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{what} have shape {list(array.shape)}; expected [pictures, classes]")
    if len(array) == 0:
        raise DataError("there are no pictures to evaluate")
    return array


def _indices(values: ArrayLike, what: str, length: int, num_classes: int) -> Ints:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise DataError(f"{what} have shape {list(array.shape)}; expected [{length}], one a picture")
    if length == 0:
        raise DataError("there are no pictures to evaluate")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{what} are {array.dtype}; expected whole numbers, the index of each picture's class")
    if array.min() < 0 or array.max() >= num_classes:
        raise DataError(
            f"{what} lie in {array.min()}..{array.max()}; expected 0..{num_classes - 1}, as there are {num_classes} classes"
        )
    return array.astype(np.int64)
