"""Whether two engines say the same of the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = {"no": 1e-3, "fp16": 1e-2, "bf16": 0.3}
"""Largest `agreement` with torch's rows at the same precision that an engine may have.

In fp32, correct conversions of the families here differ by less than 1e-5 (another order of sums), those computed in bf16 behind
one's back by 1e-2 and more, a wrong operator by about 1: 1e-3 lies between. The unit roundoff of fp16 is
5e-4; compilers round fused operations once instead of twice, and some ten such roundings add up. That of bf16 is 4e-3, and depthwise
convolutions grow it: of EfficientNet-Lite0's features torch's bf16 is 0.13 from fp32, OpenVINO's 0.09, one from the other 0.12.
"""


def agreement(rows: NDArray[Any], reference: NDArray[Any]) -> float:
    """Largest over samples of |row - reference| / |reference|, in the Euclidean norm; both `[N, ...]` of one shape.

    Infinite where the shapes differ or `rows` holds a value that is not finite, and where a reference of zeros is not met exactly.
    """
    if rows.shape != reference.shape or not np.isfinite(rows).all():
        return float("inf")
    wanted = reference.reshape(len(reference), -1).astype(np.float64)
    distances = np.linalg.norm(rows.reshape(len(rows), -1) - wanted, axis=1)
    norms = np.linalg.norm(wanted, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(distances == 0, 0.0, distances / norms)
    return float(ratios.max())
