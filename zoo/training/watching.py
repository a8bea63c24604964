"""What the numbers of training steps tell while they come: a gradient that jumps, a loss that does not move."""

from __future__ import annotations

import logging
import math
from collections import deque
from statistics import fmean, median

log = logging.getLogger("zoo")

WINDOW = 50
"""Steps that are looked back on."""
SPIKE = 10.0
"""Times the median of the gradient's norms from which one is said to jump. Our own choice."""
FLAT_STEPS = 200
"""Steps after which a loss is to have moved."""
FLAT = 1e-3
"""Share of the loss by which it is to have moved then. Our own choice."""


class Watch:
    """Of one sitting: a resumed run begins anew. Nothing that trains depends on it."""

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=WINDOW)
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._steps = 0
        self._quiet_until = 0

    def step(self, step: int, loss: float, norm: float) -> None:
        """Look at a step that was made: its mean loss, and the L2 norm of its gradient before clipping."""
        self._steps += 1
        self._look_at_norm(step, norm)
        self._last.append(loss)
        if len(self._first) < WINDOW:
            self._first.append(loss)
        if self._steps == FLAT_STEPS:
            began, now = fmean(self._first), fmean(self._last)
            if abs(began - now) < FLAT * abs(began):
                log.warning(
                    "the loss has not moved in %d steps (%.4g, and %.4g); raise --lr, or look at the labels with `zoo data inspect`",
                    FLAT_STEPS, began, now,
                )  # fmt: skip

    def _look_at_norm(self, step: int, norm: float) -> None:
        usual = median(self._norms) if len(self._norms) >= WINDOW // 2 else math.inf
        if norm > SPIKE * usual > 0 and step >= self._quiet_until:
            self._quiet_until = step + WINDOW  # one line for a whole bad stretch
            log.warning(
                "step %d: the norm of the gradient is %.3g, %.0f times the median of the last %d steps; --clip %.2g bounds it",
                step, norm, norm / usual, len(self._norms), 2 * usual,
            )  # fmt: skip
        self._norms.append(norm)
