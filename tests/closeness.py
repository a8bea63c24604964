"""How far two calculations of the same numbers may be apart: by their dtype and the length of their sums, never by one processor.

Kernels differ in the order of sums between processors, batch sizes and libraries. A sum of n terms in another order is off by up to
n unit roundoffs of its largest terms, and by about sqrt(n) of them for terms of mixed sign (Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 4.2); a network is some tens of such sums in a row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

SUMS = 32
"""Sums in a row that a network of the tests is, at most."""


def tolerance(dtype: Any = "float32", terms: int = 1024) -> float:
    """Largest difference, as a share of the largest value, of two calculations in `dtype` whose sums have `terms` terms.

    dtype: of torch or numpy, or its name. 1.2e-4 for sums of 1,024 terms in float32; a wrong sample or weight is off by 1e-2 and more.
    """
    name = str(dtype).removeprefix("torch.")
    unit = torch.finfo(getattr(torch, name)).eps if name == "bfloat16" else float(np.finfo(np.dtype(name)).eps)
    return SUMS * math.sqrt(terms) * unit


def assert_close(found: Any, wanted: Any, *, dtype: Any = "float32", terms: int = 1024) -> None:
    """Both arrays, tensors or numbers agree within `tolerance` of the largest value wanted (or of 1, if that is larger)."""
    one, other = (
        np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, np.float64) for value in (found, wanted)
    )
    assert one.shape == other.shape, f"shapes {one.shape} and {other.shape}"
    scale = max(1.0, float(np.abs(other).max(initial=0.0)))
    difference = float(np.abs(one - other).max(initial=0.0))
    assert difference <= tolerance(dtype, terms) * scale, (
        f"off by {difference:.3g}, allowed are {tolerance(dtype, terms) * scale:.3g}"
    )
