"""What is kept of an array whose numbers are not: its moments, computed at once and quickly, and a small sample.

Under ``keep="stats"`` this runs for every value and gradient of a training step, so large float32 arrays are gone
through as they are, with pairwise sums and the BLAS, where single precision cannot mislead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = 256
"""At most so many entries, evenly spread, are kept for the histogram."""
_LARGE = 4096
_CANCELLED = 0.05
"""Below this share of the mean square, a variance that is the difference of two squares has lost digits."""


class Summary:
    """Size, extremes, mean, standard deviation, norm and share of zeros of a finite, non-empty array."""

    __slots__ = ("high", "low", "mean", "norm", "sample", "size", "std", "zeros")

    def __init__(self, flat: NDArray[Any], low: float, high: float) -> None:
        self.size = flat.size
        self.low, self.high = low, high
        self.mean = float(np.add.reduce(flat)) / flat.size
        squares = float(flat.dot(flat))
        variance = squares / flat.size - self.mean**2
        if flat.dtype == np.float64 or variance < _CANCELLED * squares / flat.size:
            away = flat - self.mean
            variance = float(away.dot(away)) / flat.size
        self.norm = math.sqrt(squares)
        self.std = math.sqrt(variance)
        self.zeros = float(np.count_nonzero(flat == 0)) / flat.size
        self.sample = flat[:: -(-flat.size // SAMPLE)].copy()

    @classmethod
    def of(cls, array: NDArray[Any]) -> Summary | None:
        """The summary of an array; None where it is empty, has entries that are not finite, or ones whose squares are
        out of range, which all take a closer look."""
        if not array.size:
            return None
        flat = array.ravel("K")
        if flat.size <= _LARGE or flat.dtype != np.float32:
            flat = flat.astype(np.float64)
        low, high = float(np.minimum.reduce(flat)), float(np.maximum.reduce(flat))
        size = max(-low, high)
        least, most = (1e-140, 1e140) if flat.dtype == np.float64 else (1e-12, 1e15)
        return cls(flat, low, high) if least < size < most or size == 0 else None
