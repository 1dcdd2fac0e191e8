"""Which values there are and how often: unique, bincount, histc, isin, searchsorted. No gradients pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import mode
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import match, operand
from .gathering import take_along_dim
from .misuse import misuse
from .reduction import one_axis

_BLOCKS = "blocks: counts and positions do not vary smoothly"


class _Count(Op):
    gate = _BLOCKS
    differentiable = False


class Bincount(_Count):
    """How often each whole number from 0 up occurs, or the sum of its weights."""

    formula = "y[k] = Σ w[i] over x[i] = k"

    def forward(x, weights=None, *, minlength):
        counts = np.bincount(x, weights, minlength)
        return counts if weights is None or weights.dtype.kind != "f" else counts.astype(weights.dtype)


class Histc(_Count):
    """How many elements fall into each of equally wide bins."""

    formula = "y[k] = how many x in bin k"

    def forward(x, *, bins, low, high):
        return np.histogram(x[np.isfinite(x)], bins, (low, high))[0].astype(x.dtype)


class IsIn(_Count):
    """Whether each element is one of the test elements."""

    name = "isin"
    formula = "y = x ∈ S"

    def forward(x, test, *, invert):
        return np.isin(x, test, invert=invert)


class SearchSorted(_Count):
    """Where values would be inserted to keep a sequence in order, row by row."""

    name = "searchsorted"
    formula = "y = how many entries of the row come before v"

    def forward(rows, values, *, side):
        if rows.ndim <= 1:
            return np.asarray(np.searchsorted(rows, values, side), np.int64)
        count = math.prod(rows.shape[:-1])
        flat, wanted = rows.reshape(count, rows.shape[-1]), values.reshape(count, values.shape[-1])
        found = [np.searchsorted(row, v, side) for row, v in zip(flat, wanted, strict=True)]
        return np.array(found, np.int64).reshape(values.shape)


@operation(
    Bincount, samples=lambda rng: [Sample(np.array([0, 2, 2, 5])), Sample(np.array([1, 1]), np.ones(2), minlength=4)]
)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2 … occurs in a vector of whole numbers, or the sum of the ``weights`` where it does.

    Returns:
        int64 counts (floats with weights), at least ``minlength`` of them.

    >>> import backlit as bl
    >>> bl.bincount(bl.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    x = operand(x)
    if x.ndim != 1 or x.dtype.kind not in "iu":
        raise misuse("bincount", f"needs a vector of whole numbers, got {tuple(x.shape)} {x.dtype.name}.")
    if getattr(x, "_data", x).min(initial=0) < 0:
        raise misuse("bincount", "the numbers must not be negative.")
    if weights is None:
        return apply(Bincount, (x,), {"minlength": minlength})
    weights = operand(weights)
    if weights.shape != x.shape:
        raise misuse("bincount", f"{tuple(weights.shape)} weights do not fit {tuple(x.shape)} numbers.")
    return apply(Bincount, (x, weights), {"minlength": minlength})


@operation(Histc, samples=lambda rng: [Sample(rng.normal(size=(3, 4)), 5, -1.0, 1.0), Sample(rng.normal(size=7), 4)])
def histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of ``bins`` equal parts of [min, max]; others are not counted.

    Where ``min`` equals ``max``, the range of the elements is taken.
    """
    x = operand(x)
    if x.dtype.kind != "f" or bins < 1 or max < min:
        raise misuse("histc", f"needs floats, a bin and min <= max; got {x.dtype.name}, bins={bins}, [{min}, {max}].")
    low, high = float(min), float(max)
    array = getattr(x, "_data", x)
    if mode.tracer is not None:
        mode.tracer.refuse("histc")
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            raise misuse("histc", f"the elements range from {low} to {high}; give a finite min and max.")
    if low == high:
        low, high = low - 1.0, high + 1.0
    return apply(Histc, (x,), {"bins": bins, "low": low, "high": high})


@operation(
    IsIn,
    samples=lambda rng: [Sample(rng.integers(0, 5, (3, 4)), np.array([1, 3])), Sample(np.array(2), np.array([2, 4]))],
)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is one of ``test_elements``, as booleans; ``invert`` asks for those that are not."""
    del assume_unique  # a promise that only saves work
    return apply(IsIn, match(elements, test_elements), {"invert": invert})


@operation(
    SearchSorted,
    samples=lambda rng: [
        Sample(np.array([1.0, 3.0, 5.0]), rng.uniform(0, 6, (2, 3))),
        Sample(np.array([[1, 3, 5], [0, 2, 2]]), np.array([[3], [2]]), right=True),
        Sample(np.array([1.0, 3.0]), np.array(2.0)),
    ],
)
def searchsorted(
    sorted_sequence: Any,
    values: Any,
    *,
    right: bool = False,
    side: str | None = None,
    out_int32: bool = False,
    sorter: Any = None,
) -> Tensor:
    """Where ``values`` would be inserted to keep each row of ``sorted_sequence`` in order.

    Args:
        sorted_sequence: ascending along the last dimension; a vector serves values of any shape.
        values: same leading dimensions as a sequence of several rows.
        right: insert after equal entries instead of before; ``side="right"`` says the same.
        out_int32: int32 positions instead of int64.
        sorter: the positions that sort each row of a ``sorted_sequence`` that is not in order (from ``argsort``).
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise misuse("searchsorted", f"side={side!r} with right={right}; use side='left' or side='right'.")
    if sorter is not None:
        sorted_sequence = take_along_dim(sorted_sequence, sorter, -1)
    rows, values = match(sorted_sequence, values)
    values = operand(values) if hasattr(values, "dtype") else operand(values).astype(rows.dtype)
    if rows.ndim > 1 and rows.shape[:-1] != values.shape[:-1]:
        raise misuse(
            "searchsorted", f"rows of shape {tuple(rows.shape)} and values of {tuple(values.shape)} do not pair up."
        )
    found = apply(SearchSorted, (rows, values), {"side": side or ("right" if right else "left")})
    return found.astype(np.int32) if out_int32 else found


@operation(
    SearchSorted,
    samples=lambda rng: [Sample(rng.uniform(0, 6, (2, 3)), np.array([1.0, 3.0, 5.0]), right=True)],
)
def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket between ascending ``boundaries`` that each element falls into."""
    if operand(boundaries).ndim != 1:
        raise misuse("bucketize", f"the boundaries must be a vector, their shape is {tuple(boundaries.shape)}.")
    return searchsorted(boundaries, x, right=right, out_int32=out_int32)


@operation(
    formula="y = the different values of x, ascending",
    gate=_BLOCKS,
    differentiable=False,
    samples=lambda rng: [
        Sample(rng.integers(0, 4, (3, 4))),
        Sample(rng.integers(0, 2, (5, 2)), dim=0, return_inverse=True, return_counts=True),
    ],
)
def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different values of ``x`` (or its different slices along ``dim``), in ascending order.

    Args:
        sorted: accepted; the values are always sorted.
        return_inverse: also where each element of ``x`` is among them.
        return_counts: also how often each occurs.

    >>> import backlit as bl
    >>> bl.unique(bl.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    del sorted
    x = operand(x)
    axis = None if dim is None else one_axis("unique", x, dim)
    if mode.tracer is not None:
        mode.tracer.refuse("unique")
    array = getattr(x, "_data", x)
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(array.shape if axis is None else -1)
    wanted = [values, *([inverse] if return_inverse else []), *([counts] if return_counts else [])]
    found = tuple(constant(a) if isinstance(x, Tensor) else a for a in wanted)
    return found if len(found) > 1 else found[0]
