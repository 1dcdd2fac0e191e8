"""Whether gradients are finite, asked before every update and so made cheap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..numerics import hush, unhush

_LARGE = 4096  # entries from which reading a whole gradient once more would be felt


def squares(parameters: Iterable[Any]) -> float:
    """A sum of squares over all gradients, finite only if none of them holds NaN or infinity.

    Small gradients are added up whole, large ones by one row and one column: the gradient of a weight is a product
    XᵀdY, in which an entry of dY that is not finite spoils a whole column, and one of X a whole row. Large finite
    entries overflow the sum as well, so that it only raises a suspicion.
    """
    token = hush()
    total = 0.0
    for parameter in parameters:
        gradient = parameter._grad
        if gradient is not None:
            part = gradient._data
            if part.ndim > 1:
                if part.size > _LARGE:
                    column = part[:, 0].ravel("K")
                    total += float(column.dot(column))
                    part = part[0]
                part = part.ravel("K")
            total += float(part.dot(part))
    unhush(token)
    return total


def first_not_finite(parameters: Iterable[Any]) -> Any:
    """The first parameter whose gradient holds NaN or infinity, or None."""
    spoiled = (p for p in parameters if p._grad is not None and not np.isfinite(p._grad._data).all())
    return next(spoiled, None)
