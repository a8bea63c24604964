"""Values in units of their own spread: what a regression learns, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each value of a regression.

    A network computes in float32, of which 1.7e9 and 1.7e9 + 50 are the same number. So it predicts standardised values, near 0 and 1;
    what turns targets into those, and outputs back, is computed here in float64.
    """

    mean: tuple[float, ...]
    """`[K]`, in the unit of the values."""
    std: tuple[float, ...]
    """`[K]`, in the unit of the values; above 0."""

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """That of values `[N, K]`. A value that is the same everywhere has a standard deviation of 1."""
        wide = np.asarray(values, dtype=np.float64)
        constant = (wide == wide[:1]).all(axis=0)
        mean, std = np.where(constant, wide[0], wide.mean(axis=0)), wide.std(axis=0)
        return cls(tuple(mean.tolist()), tuple(np.where(constant | (std == 0), 1.0, std).tolist()))

    def standardised(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """`[N, K]` in the unit of the values, as the network is to predict them: minus the mean, over the standard deviation."""
        centred = np.asarray(values, dtype=np.float64) - self.mean
        return np.asarray(centred / _row(self.std), dtype=np.float32)

    def restored(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """The inverse: outputs `[..., K]` in the unit of the values."""
        return np.asarray(np.asarray(outputs, dtype=np.float64) * _row(self.std) + self.mean, dtype=np.float64)


def _row(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
