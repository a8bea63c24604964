"""Which samples a solved head is fitted to, and which it is judged by: never the same in one fit."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from zoo import folders
from zoo.cache import Rows
from zoo.data.sets import Integers
from zoo.data.splits import Splits
from zoo.data.splits.folds import assign
from zoo.data.targets import Targets
from zoo.errors import CheckpointError
from zoo.runs import Run
from zoo.training.probe.problem import Features

FOLDS = 5
"""As scikit-learn's default and cleanlab's."""
IN_MEMORY = 1 << 30
"""Bytes of features that are read into memory as one array; more are read block by block at every pass, and judged by one set that is
held out."""


@dataclass(frozen=True)
class Pool:
    """The features of some sets of samples, and how solutions are judged on samples that they were not fitted to.

    A judged sample is one of `samples`, which are those of all sets, one set after another.
    """

    features: Features
    """Of every view of the samples to fit to, fold after fold."""
    targets: Targets
    """Of these rows."""
    folds: list[slice]
    """The rows that are left out, in turn; the others are always fitted."""
    held: Sequence[Features]
    """For each fold, the features of the samples that are judged without it."""
    judged: Integers
    """Which samples these are."""
    judged_targets: Targets
    words: str
    """How they are judged, for people: `on the validation images`."""
    refits: bool
    """Whether what is judged is fitted in the end."""

    @property
    def width(self) -> int:
        """Of the features."""
        first = self.features if isinstance(self.features, np.ndarray) else self.features[0]
        return int(first.shape[1])


def by_validation(train: Sequence[Rows], val: Rows, splits: Splits, *, refit: Sequence[Rows] = ()) -> Pool:
    """Fit to the training samples, judge by the validation samples.

    Args:
        train: features `[N, D]` of the training samples, one for each view; all views count.
        val: features `[M, D]` of the validation samples.
        refit: those of each view of the validation samples, where these are to be fitted too, once all is chosen.
    """
    blocks = _blocks([*train, *refit])
    fitted = sum(len(rows) for rows in train)
    targets = np.concatenate([splits.train.targets] * len(train) + [splits.val.targets] * len(refit))
    judged = np.arange(len(splits.train), len(splits.train) + len(splits.val))
    words = f"on the validation {splits.facts.kind.nouns}"
    return Pool(blocks, targets, [slice(fitted, len(targets))], [val.read()], judged, splits.val.targets, words, bool(refit))


def crossed(
    targets: Targets, groups: Integers, views: Sequence[Sequence[Rows]], plain: Sequence[Rows], seed: int, words: str
) -> Pool | None:
    """Fit to all samples but those of one fold, judge by these, for each of five folds.

    None where there is no room for the features in memory, or where the samples have no two folds: of each class there must be some
    to learn it from without any fold.

    Args:
        targets, groups: of the samples of all sets, one set after another; a group stays together.
        views: of each set, features `[N, D]` of each of its views.
        plain: of each set, features `[N, D]` of its samples as they are.
    """
    if sum(math.prod(rows.shape) for view in views for rows in view) * 4 > IN_MEMORY:
        return None
    numbers = assign(targets, groups, FOLDS, seed)
    folds = int(numbers.max()) + 1
    if folds < 2:
        return None
    several = len(views[0])
    rows = [np.concatenate([view[number].read() for view in views]) for number in range(several)]
    order = np.argsort(np.tile(numbers, several), kind="stable")
    features = np.concatenate(rows)[order]
    ends = np.searchsorted(np.tile(numbers, several)[order], np.arange(folds + 1))
    places = [slice(int(start), int(end)) for start, end in itertools.pairwise(ends)]
    judged = [np.flatnonzero(numbers == number) for number in range(folds)]
    own = several == 1 and all(view[0] is one for view, one in zip(views, plain, strict=True))
    whole = None if own else np.concatenate([one.read() for one in plain])
    held = [features[place] if whole is None else whole[which] for place, which in zip(places, judged, strict=True)]
    which = np.concatenate(judged)
    said = f"in {folds}-fold cross-validation of the {len(targets):,} {words}"
    return Pool(
        features, np.tile(targets, (several, *[1] * (targets.ndim - 1)))[order], places, held, which, targets[which], said, True
    )


def _blocks(views: Sequence[Rows]) -> list[NDArray[np.float32]]:
    """The features of all views: as arrays in memory where they are small enough, else as what reads them when it is asked."""
    if sum(math.prod(rows.shape) * 4 for rows in views) <= IN_MEMORY:
        return [rows.read() for rows in views]
    return list(views)  # type: ignore[arg-type]  # Rows has what the solver uses of an array: len, shape, slices


FILE = "held_out.safetensors"
"""In a run whose head was fitted to what it was chosen by: what the heads predict that were not fitted to a sample."""


@dataclass(frozen=True)
class Judged:
    """Predictions for training and validation samples, each by a head that was fitted to others."""

    samples: Integers
    """`[M]`: places among the training samples and, after them, the validation samples."""
    logits: NDArray[np.float32]
    """`[M, C]`."""
    words: str
    """How they were judged, for people."""


def write(run: Run, judged: Judged) -> None:
    """Raises: OutputError."""
    content = save({"samples": judged.samples, "logits": judged.logits}, {"words": json.dumps(judged.words)})
    folders.write_bytes(run.path / FILE, content)


def read(run: Run) -> Judged:
    """What `write` wrote. Raises: CheckpointError."""
    path = run.path / FILE
    try:
        with safe_open(path, framework="numpy") as file:
            words: Any = json.loads(file.metadata()["words"])
            return Judged(file.get_tensor("samples"), file.get_tensor("logits"), str(words))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or gone ({str(error).splitlines()[0]}); start a new run") from error
