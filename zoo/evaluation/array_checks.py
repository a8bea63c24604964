"""Arrays that are to be measured, checked: what does not fit is refused in one line, with the first row that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import ConfigError, DataError, NonFinite

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def columns(values: ArrayLike) -> NDArray[Any]:
    """`[N]` as `[N, 1]`; anything else as it is."""
    array = np.asarray(values)
    return array[:, None] if array.ndim == 1 else array


def finite(scores: Floats, what: str) -> Floats:
    """The same `[N, C]`, where all are finite; `what` calls the rows. Raises: NonFinite."""
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise NonFinite(
            f"the model's outputs are not finite for {len(bad)} of {len(scores)} {what} (first: number {bad[0]}); "
            "lower --lr, or use --precision no"
        )
    return scores


def limits(thresholds: ArrayLike, num_labels: int) -> Floats:
    """`[C] float64` in 0..1 from one threshold or one a label. Raises: ConfigError."""
    given = np.asarray(thresholds, dtype=np.float64)
    if given.shape not in ((), (num_labels,)):
        raise ConfigError(f"thresholds have shape {list(given.shape)}; expected one number, or [{num_labels}], one a label")
    if not ((given >= 0) & (given <= 1)).all():
        raise ConfigError(f"thresholds are {given.tolist()}; expected probabilities in 0..1")
    return np.broadcast_to(given, (num_labels,)).copy()


def decisions(values: ArrayLike, what: str, shape: tuple[int, ...]) -> Ints:
    """`[N, C] int64` of 0 and 1. Raises: DataError."""
    array = np.asarray(values)
    if array.shape != shape:
        raise DataError(f"{what} have shape {list(array.shape)}; expected {list(shape)}, a number for each sample and label")
    bad = np.flatnonzero(((array != 0) & (array != 1)).any(axis=1))
    if len(bad):
        raise DataError(f"{what} are not all 0 or 1 (first: sample number {bad[0]}); expected 1 where a label holds, else 0")
    return array.astype(np.int64)


def matrix(values: ArrayLike, what: str, axes: str = "[samples, classes]") -> Floats:
    """`[N, C] float64` with a row and a column at least; `axes` says what they are. Raises: DataError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{what} have shape {list(array.shape)}; expected {axes}")
    if len(array) == 0:
        raise DataError(f"there are no {axes[1:].split(',')[0]} to evaluate")
    return array


def indices(values: ArrayLike, what: str, length: int, num_classes: int) -> Ints:
    """`[N] int64` in 0..C-1. Raises: DataError."""
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise DataError(f"{what} have shape {list(array.shape)}; expected [{length}], one a sample")
    if length == 0:
        raise DataError("there are no samples to evaluate")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{what} are {array.dtype}; expected whole numbers, the index of each sample's class")
    if array.min() < 0 or array.max() >= num_classes:
        raise DataError(
            f"{what} lie in {array.min()}..{array.max()}; expected 0..{num_classes - 1}, as there are {num_classes} classes"
        )
    return array.astype(np.int64)
