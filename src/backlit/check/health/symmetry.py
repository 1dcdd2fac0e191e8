"""Units that are all alike: they get the same gradient, and so they stay alike for ever."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 32
"""How many times over the rounding of one sum may pile up in the course of a training."""


def twin_units(parameters: Mapping[str, Iterable[Any]]) -> dict[str, int]:
    """Layers whose units all have the same weights and get the same gradient, with their number of units.

    Args:
        parameters: layer → its parameters, with their gradients.
    """
    held = {name: [p for p in own if p._grad is not None] for name, own in parameters.items()}
    largest = max((_largest(p._grad._data) for own in held.values() for p in own), default=0.0)
    twins = {}
    for name, own in held.items():
        matrices = [p for p in own if p.ndim > 1 and p.shape[0] > 1]
        if matrices and all(alike(p._data) and _pulled_alike(p._grad._data, largest) for p in matrices):
            twins[name] = matrices[0].shape[0]
    return twins


def alike(weights: NDArray[Any]) -> bool:
    """Whether the rows of a layer's weights are equal but for rounding.

    Products of matrices add in another order at the edges of their blocks, so that equal units drift apart by the
    rounding of sums over the fan-in. Units that were drawn at random differ by their own size.
    """
    eps = float(np.finfo(weights.dtype).eps)
    share = min(_STEPS * math.prod(weights.shape[1:]) * eps, math.sqrt(eps))
    return _spread(weights) <= share * _largest(weights)


def _pulled_alike(gradient: NDArray[Any], largest: float) -> bool:
    """The same of gradients.

    Their terms may be far larger than their sum; where they cancel, only rounding is left, which is small beside the
    ``largest`` gradient of the model.
    """
    eps = float(np.finfo(gradient.dtype).eps)
    return _spread(gradient) <= max(math.sqrt(eps) * _largest(gradient), _STEPS * eps * largest)


def _spread(rows: NDArray[Any]) -> float:
    """The largest difference from the first row."""
    return _largest(rows - rows[:1])


def _largest(array: NDArray[Any]) -> float:
    return float(np.abs(array).max(initial=0.0))
