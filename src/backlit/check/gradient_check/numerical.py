"""Gradients by central differences, and how far the backward pass is from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import OperationError
from ...graph import no_grad
from ...tensor import Tensor

Index = tuple[int, ...]
EPS = 1e-6
"""In float64, rounding (1e-16 / eps) and the neglected third order (eps²) are both far below 1e-7."""


def numerical_gradient(
    fn: Callable[[Tensor], Any], tensor: Tensor, eps: float = EPS, entries: Iterable[Index] | None = None
) -> NDArray[np.float64]:
    """The gradient of a scalar function by central differences, (f(x + eps) - f(x - eps)) / 2 eps.

    Args:
        fn: called with ``tensor``; returns a number or a one-element tensor. It must give the same result each time.
        tensor: float64; its entries are changed in place one after the other and put back.
        eps: the step.
        entries: the indices to compute; the others are NaN. All of them by default.

    Returns:
        float64 array of the tensor's shape.

    Raises:
        OperationError: the tensor is not float64 (differences of float32 values carry no information at such steps).

    >>> import backlit as bl
    >>> x = bl.tensor([1.0, 2.0], dtype=bl.float64)
    >>> numerical_gradient(lambda x: (x * x).sum(), x).round(6)
    array([2., 4.])
    """
    gradient = np.full(tensor.shape, np.nan)
    for entry in _entries(tensor, entries):
        below, _, above = _around(fn, tensor, entry, eps)
        gradient[entry] = (above - below) / (2 * eps)
    return gradient


@dataclass(frozen=True)
class Comparison:
    """How well a gradient by backpropagation agrees with one by differences.

    ``relative`` is |a - n| / max(|a|, |n|, floor) at the worst entry, where ``floor`` is a hundred-thousandth of the
    gradient's largest entry, or 10,000 times the rounding noise: smaller entries cannot be told from noise.
    ``entry``, ``analytic`` and ``numeric`` are that entry; ``checked`` counts the entries compared, ``kinks`` those
    left out because the function bends there.
    """

    relative: float
    entry: Index
    analytic: float
    numeric: float
    checked: int
    kinks: int


def rounding(value: float, eps: float = EPS) -> float:
    """How large a central difference of a function of this value can be from rounding alone, with some room."""
    return 16 * float(np.finfo(np.float64).eps) * abs(value) / eps


def compare_gradients(
    analytic: Any, numeric: NDArray[np.float64], kinks: Iterable[Index] = (), noise: float = 0.0
) -> Comparison:
    """Compare two gradients of one shape.

    Entries that are NaN in ``numeric`` were not computed; they and ``kinks`` are left out. Disagreement up to ``noise``
    (see :func:`rounding`) counts as an error of at most 1e-4.

    >>> compare_gradients(np.array([1.0, 2.0]), np.array([1.0, 2.02])).entry
    (1,)
    """
    backward = np.asarray(getattr(analytic, "_data", analytic), np.float64)
    if backward.shape != numeric.shape:
        raise OperationError(f"compare_gradients: the shapes {backward.shape} and {numeric.shape} differ.")
    use = ~np.isnan(numeric)
    left_out = list(kinks)
    for entry in left_out:
        use[entry] = False
    if not use.any():
        return Comparison(0.0, (), 0.0, 0.0, 0, len(left_out))
    floor = max(1e-5 * max(np.abs(backward).max(), np.abs(numeric[use]).max()), 1e4 * noise, 1e-12)
    with np.errstate(invalid="ignore"):
        errors = np.abs(backward - numeric) / np.maximum(np.maximum(np.abs(backward), np.abs(numeric)), floor)
    errors = np.where(use, np.where(np.isfinite(errors), errors, np.where(use, np.inf, 0.0)), -1.0)
    worst = tuple(int(i) for i in np.unravel_index(int(errors.argmax()), errors.shape))
    return Comparison(
        float(errors[worst]), worst, float(backward[worst]), float(numeric[worst]), int(use.sum()), len(left_out)
    )


def bends(fn: Callable[[Tensor], Any], tensor: Tensor, entry: Index, eps: float = EPS) -> bool:
    """Whether the slopes on both sides of a point differ clearly: a kink, as ReLU has at 0, lies within ``eps``.

    There central differences average two slopes, and neither they nor the backward pass are wrong.
    """
    below, here, above = _around(fn, tensor, entry, eps)
    left, right = (here - below) / eps, (above - here) / eps
    return abs(right - left) > 1e-3 * max(abs(left), abs(right)) + 4 * rounding(here, eps)


def _entries(tensor: Tensor, entries: Iterable[Index] | None) -> list[Index]:
    if tensor.dtype != np.float64:
        raise OperationError(f"numerical_gradient: needs a float64 tensor, got {tensor.dtype.name}; use .double().")
    return list(np.ndindex(tensor.shape)) if entries is None else list(entries)


def _around(fn: Callable[[Tensor], Any], tensor: Tensor, entry: Index, eps: float) -> tuple[float, float, float]:
    """The function below, at and above an entry's value, which is put back whatever happens."""
    array = tensor._data
    value = array[entry]
    try:
        with no_grad():
            here = float(fn(tensor))
            array[entry] = value - eps
            below = float(fn(tensor))
            array[entry] = value + eps
            return below, here, float(fn(tensor))
    finally:
        array[entry] = value
