"""What a metric looks at: the targets and the model's outputs, checked once. One class a task, and `from_logits` for them all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from zoo.errors import ConfigError, DataError
from zoo.evaluation import array_checks
from zoo.evaluation.array_checks import Floats, Ints
from zoo.types import Task

THRESHOLD = 0.5
"""The probability from which a label is said to be there, unless another is given: the more probable of the two outcomes."""


class Undefined(Exception):
    """A metric has no value for these outputs; the message says why. Never leaves the evaluation: it becomes a value of None."""


@dataclass(frozen=True)
class Outputs:
    """N samples with their true class and what the model said, among C classes. Build it with one of the `from_...` methods."""

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
        scores = array_checks.finite(array_checks.matrix(logits, "logits"), "samples")
        true = array_checks.indices(targets, "targets", len(scores), scores.shape[1])
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return cls(true, scores.argmax(axis=1), scores.shape[1], log_probabilities)

    @classmethod
    def from_probabilities(cls, targets: ArrayLike, probabilities: ArrayLike) -> Outputs:
        """From `[N]` whole numbers and `[N, C]` probabilities, whose rows sum to 1 (to 1e-3, float32 sums included).

        A probability of 0 counts as 2.2e-16, as in scikit-learn's `log_loss`, so that log-loss is finite.
        Raises: DataError.
        """
        shares = array_checks.matrix(probabilities, "probabilities")
        if not (np.isfinite(shares).all() and (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=1e-3)):
            raise DataError("probabilities are numbers of 0 or more whose rows sum to 1")
        true = array_checks.indices(targets, "targets", len(shares), shares.shape[1])
        log_probabilities = np.log(np.clip(shares, np.finfo(np.float64).eps, 1))
        return cls(true, shares.argmax(axis=1), shares.shape[1], log_probabilities)

    @classmethod
    def from_predictions(cls, targets: ArrayLike, predictions: ArrayLike, num_classes: int) -> Outputs:
        """From `[N]` and `[N]` whole numbers: enough for the metrics that need no probabilities. Raises: DataError."""
        length = len(np.asarray(predictions))
        return cls(
            array_checks.indices(targets, "targets", length, num_classes),
            array_checks.indices(predictions, "predictions", length, num_classes),
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
        """`[C] int64`: how many samples each class has."""
        return np.bincount(self.targets, minlength=self.num_classes)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Ints) -> Outputs:
        """The outputs of these rows, repetitions included."""
        scores = None if self.log_probabilities is None else self.log_probabilities[rows]
        return Outputs(self.targets[rows], self.predictions[rows], self.num_classes, scores)


@dataclass(frozen=True)
class MultilabelOutputs:
    """N samples with the labels that hold for them and what the model said of each of C labels. Build it as `Outputs` is built."""

    targets: Ints
    """`[N, C] int64`: 1 where the label holds, else 0."""
    predictions: Ints
    """`[N, C] int64`: 1 where the label is said to hold."""
    thresholds: Floats | None = None
    """`[C] float64`: the probability from which each label is said to hold; None where only predictions are known."""
    logits: Floats | None = None
    """`[N, C] float64`; None where only predictions are known."""

    @classmethod
    def from_logits(cls, targets: ArrayLike, logits: ArrayLike, thresholds: ArrayLike = THRESHOLD) -> MultilabelOutputs:
        """From `[N, C]` of 0 and 1, `[N, C]` logits, and one threshold in 0..1 or one a label.

        Raises: DataError if shapes or targets do not fit; ConfigError if the thresholds do not; NonFinite if a logit is NaN or
        infinite.
        """
        scores = array_checks.finite(array_checks.matrix(logits, "logits", "[samples, labels]"), "samples")
        true, limits = array_checks.decisions(targets, "targets", scores.shape), array_checks.limits(thresholds, scores.shape[1])
        return cls(true, (_sigmoid(scores) >= limits).astype(np.int64), limits, scores)

    @classmethod
    def from_probabilities(
        cls, targets: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike = THRESHOLD
    ) -> MultilabelOutputs:
        """From `[N, C]` of 0 and 1, and `[N, C]` probabilities in 0..1, each label's own; 0 and 1 count as 2.2e-16 from there.

        Raises: DataError; ConfigError if the thresholds do not fit.
        """
        shares = array_checks.matrix(probabilities, "probabilities", "[samples, labels]")
        if not ((shares >= 0) & (shares <= 1)).all():
            raise DataError("probabilities are numbers in 0..1")
        true, limits = array_checks.decisions(targets, "targets", shares.shape), array_checks.limits(thresholds, shares.shape[1])
        least = np.finfo(np.float64).eps
        inside = np.clip(shares, least, 1 - least)
        return cls(true, (shares >= limits).astype(np.int64), limits, np.log(inside) - np.log1p(-inside))

    @classmethod
    def from_predictions(cls, targets: ArrayLike, predictions: ArrayLike) -> MultilabelOutputs:
        """From `[N, C]` and `[N, C]` of 0 and 1: enough for the metrics that need no probabilities. Raises: DataError."""
        shape = array_checks.matrix(predictions, "predictions", "[samples, labels]").shape
        return cls(array_checks.decisions(targets, "targets", shape), array_checks.decisions(predictions, "predictions", shape))

    @property
    def scores(self) -> Floats:
        """`logits`, where a metric needs them. Raises: DataError where only predictions are known."""
        if self.logits is None:
            raise DataError("this metric needs probabilities; only predictions are given")
        return self.logits

    @cached_property
    def probabilities(self) -> Floats:
        """`[N, C] float64`, each label's own. Raises: DataError where only predictions are known."""
        return _sigmoid(self.scores)

    @property
    def num_labels(self) -> int:
        """C."""
        return int(self.targets.shape[1])

    @cached_property
    def support(self) -> Ints:
        """`[C] int64`: for how many samples each label holds."""
        return np.asarray(self.targets.sum(axis=0), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Ints) -> MultilabelOutputs:
        """The outputs of these rows, repetitions included."""
        scores = None if self.logits is None else self.logits[rows]
        return MultilabelOutputs(self.targets[rows], self.predictions[rows], self.thresholds, scores)


@dataclass(frozen=True)
class ValueOutputs:
    """N samples with the K numbers that are true of each and those that the model said, in the same unit."""

    targets: Floats
    """`[N, K] float64`."""
    predictions: Floats
    """`[N, K] float64`."""

    @classmethod
    def from_logits(cls, targets: ArrayLike, logits: ArrayLike) -> ValueOutputs:
        """From `[N, K]` true values and `[N, K]` outputs of the model in their unit; `[N]` is one value a sample.

        Raises: DataError if shapes do not fit or a target is NaN or infinite; NonFinite if an output is.
        """
        said = array_checks.finite(
            array_checks.matrix(array_checks.columns(logits), "predictions", "[samples, values]"), "samples"
        )
        true = np.asarray(array_checks.columns(targets), dtype=np.float64)
        if true.shape != said.shape:
            raise DataError(f"targets have shape {list(true.shape)}; expected {list(said.shape)}, as the model's outputs have")
        bad = np.flatnonzero(~np.isfinite(true).all(axis=1))
        if len(bad):
            raise DataError(
                f"targets are not finite for {len(bad)} of {len(true)} samples (first: number {bad[0]}); leave them out"
            )
        return cls(true, said)

    @property
    def num_targets(self) -> int:
        """K."""
        return int(self.targets.shape[1])

    @cached_property
    def errors(self) -> Floats:
        """`[N, K] float64`: prediction minus target."""
        return self.predictions - self.targets

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Ints) -> ValueOutputs:
        """The outputs of these rows, repetitions included."""
        return ValueOutputs(self.targets[rows], self.predictions[rows])


AnyOutputs = Outputs | MultilabelOutputs | ValueOutputs
"""The outputs of any task: all have `targets`, `predictions`, a length, and `take`."""


def from_logits(task: Task, targets: ArrayLike, logits: ArrayLike, thresholds: ArrayLike | None = None) -> AnyOutputs:
    """What the task makes of the outputs of a model: classes by their softmax, labels by their sigmoids, values as they are.

    targets: `[N]` whole numbers; `[N, C]` of 0 and 1; `[N, K]` numbers.
    logits: `[N, C]`; `[N, C]`; `[N, K]` in the unit of the targets.
    thresholds: for multilabel alone, one or `[C]`; None: 0.5.

    Raises: DataError, NonFinite; ConfigError if thresholds are given that do not fit.
    """
    if task is Task.MULTILABEL:
        return MultilabelOutputs.from_logits(targets, logits, THRESHOLD if thresholds is None else thresholds)
    if thresholds is not None:
        raise ConfigError(f"thresholds are for multilabel, and the task is {task}; leave them out")
    return Outputs.from_logits(targets, logits) if task is Task.CLASSIFICATION else ValueOutputs.from_logits(targets, logits)


def _sigmoid(scores: Floats) -> Floats:
    """`1 / (1 + exp(-scores))`, without overflow."""
    small = np.exp(-np.abs(scores))
    return np.asarray(np.where(scores >= 0, 1, small) / (1 + small), dtype=np.float64)
