"""Norms of arrays that may overflow or underflow when squared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FAINT = 1e-25


def norm(arrays: Any) -> float:
    """The Euclidean norm of all entries of some arrays together."""
    return math.sqrt(sum(squared_norm(a) for a in arrays))


def squared_norm(array: NDArray[Any]) -> float:
    """The sum of squares; in float64 where float32 overflows, or underflows (the square of 1e-23 is 0 there)."""
    flat = array.ravel("K")
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(flat, flat)) if array.dtype.itemsize > 2 else math.inf
    if math.isinf(total) or total < _FAINT:
        flat = flat.astype(np.float64)
        total = float(np.dot(flat, flat))
    return total
