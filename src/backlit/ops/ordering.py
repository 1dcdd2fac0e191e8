"""Sorting and ranking along a dimension. Gradients go back to where the values came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .extremes import Extreme
from .reduction import axes, one_axis
from .selection import Pick, Selected, pick

_BLOCKS = "blocks: an index does not vary smoothly"


class ArgSort(Op):
    """The order of the elements along a dimension; NaN counts as largest."""

    formula = "i such that x[i] ascends (or descends)"
    gate = _BLOCKS
    differentiable = False

    def forward(x, *, axis, descending, stable):
        if x.ndim == 0:
            return np.zeros((), np.int64)
        kind = "stable" if stable else None
        if not descending:
            return np.argsort(x, axis=axis, kind=kind)
        # From the back, so that equal elements keep their order when it is turned round.
        backwards = np.flip(np.argsort(np.flip(x, axis), axis=axis, kind=kind), axis)
        return x.shape[axis] - 1 - backwards


class Sort(Pick):
    """The elements in order along a dimension."""

    formula = "y = x[argsort x]"
    gate = "routes: the inverse permutation of the upstream gradient"


class ArgTop(Op):
    """Where the k largest (or smallest) elements along a dimension are; NaN counts as largest."""

    formula = "i of the k largest"
    gate = _BLOCKS
    differentiable = False

    def forward(x, *, k, axis, largest, ordered):
        if x.ndim == 0:
            return np.zeros((), np.int64)
        n = x.shape[axis]
        if 0 < k < n:
            found = np.argpartition(x, n - k if largest else k - 1, axis=axis)
            found = _slice(found, axis, n - k, n) if largest else _slice(found, axis, 0, k)
        else:
            found = _slice(np.broadcast_to(_positions(x, axis), x.shape), axis, 0, k)
        if not ordered:
            return np.ascontiguousarray(found)
        order = ArgSort.forward(np.take_along_axis(x, found, axis), axis=axis, descending=largest, stable=False)
        return np.take_along_axis(found, order, axis)


class TopK(Pick):
    """The k largest (or smallest) elements along a dimension."""

    formula = "y = the k largest of x"
    gate = "routes each upstream gradient to the element it was selected from; the rest receive none"


class ArgKth(Op):
    """Where the k-th smallest element along a dimension is; with ``nan_first``, where the first NaN is, if any."""

    formula = "i of the k-th smallest"
    gate = _BLOCKS
    differentiable = False

    def forward(x, *, k, axis, keepdims, nan_first):
        if x.ndim == 0:
            return np.zeros((), np.int64)
        found = _slice(np.argpartition(x, k - 1, axis=axis), axis, k - 1, k)
        if nan_first and x.dtype.kind == "f":
            unordered = np.isnan(x)
            first = np.argmax(unordered, axis=axis, keepdims=True)
            found = np.where(np.take_along_axis(unordered, first, axis), first, found)
        return (found if keepdims else found.squeeze(axis)).copy()


class KthValue(Pick):
    """The k-th smallest element along a dimension."""

    formula = "y = the k-th smallest of x"
    gate = "routes the upstream gradient to the element it was selected from"


class MedianAlong(Pick):
    """The median along a dimension, the lower of the middle two."""

    name = "median"
    formula = "y = the ⌈n/2⌉-th smallest of x"
    gate = KthValue.gate


class Median(Extreme):
    """The median of all elements, the lower of the middle two; NaN wins."""

    formula = "y = the ⌈n/2⌉-th smallest of x"

    def forward(x, *, axis, keepdims):
        flat = x.reshape(-1)
        if x.dtype.kind == "f" and np.isnan(flat).any():
            return flat.dtype.type(np.nan)
        middle = (flat.size - 1) // 2
        return np.partition(flat, middle)[middle]


def _slice(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _positions(x: Any, axis: int) -> Any:
    """0, 1, 2 … along ``axis``."""
    return np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _sort_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 4)))
    yield Sample(rng.normal(size=(3, 4)), 0, True)
    yield Sample(rng.normal(size=(2, 3, 4)), 1, descending=True, stable=True)
    yield Sample(rng.normal(size=()))
    yield Sample(rng.normal(size=(0, 3)), 1)


def _top_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 5)), 2)
    yield Sample(rng.normal(size=(4, 3)), 2, 0, False)
    yield Sample(rng.normal(size=(2, 3)), 3)
    yield Sample(rng.normal(size=(2, 3)), 0)
    yield Sample(rng.normal(size=()), 1)


def _kth_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 5)), 2)
    yield Sample(rng.normal(size=(4, 3)), 4, 0, True)
    yield Sample(rng.normal(size=()), 1)


def _median_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 4)))
    yield Sample(rng.normal(size=(3, 4)), 1)
    yield Sample(rng.normal(size=(3, 5)), 0, True)
    yield Sample(rng.normal(size=()))


@operation(Sort, samples=_sort_samples)
def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False, *, axis: Any = None) -> Selected:
    """Sort along ``dim``: a named tuple ``(values, indices)``.

    Args:
        descending: from the largest down.
        stable: equal elements keep their order. NaN counts as larger than every number.

    >>> import backlit as bl
    >>> bl.sort(bl.tensor([3.0, 1.0, 2.0])).indices
    tensor([1, 2, 0])
    """
    x = operand(x)
    place = one_axis("sort", x, dim if axis is None else axis)
    index = apply(ArgSort, (x,), {"axis": place, "descending": bool(descending), "stable": bool(stable)})
    return pick(Sort, x, index, place, True)


@operation(ArgSort, samples=_sort_samples)
def argsort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False, *, axis: Any = None) -> Tensor:
    """The indices that sort along ``dim``; see :func:`sort`."""
    x = operand(x)
    place = one_axis("argsort", x, dim if axis is None else axis)
    return apply(ArgSort, (x,), {"axis": place, "descending": bool(descending), "stable": bool(stable)})


@operation(TopK, samples=_top_samples)
def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Selected:
    """The ``k`` largest elements along ``dim``: a named tuple ``(values, indices)``.

    Args:
        largest: False selects the smallest.
        sorted: in order, best first; False leaves the order open and saves the time.

    Raises:
        OperationError: ``k`` is not between 0 and the size of the dimension.
    """
    x = operand(x)
    axis = one_axis("topk", x, dim)
    k = _rank("topk", x, k, axis, 0)
    index = apply(ArgTop, (x,), {"k": k, "axis": axis, "largest": bool(largest), "ordered": bool(sorted)})
    return pick(TopK, x, index, axis, True)


@operation(KthValue, samples=_kth_samples)
def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Selected:
    """The ``k``-th smallest element along ``dim``, counted from 1: a named tuple ``(values, indices)``.

    Raises:
        OperationError: ``k`` is not between 1 and the size of the dimension.
    """
    x = operand(x)
    axis = one_axis("kthvalue", x, dim)
    k = _rank("kthvalue", x, k, axis, 1)
    index = apply(ArgKth, (x,), {"k": k, "axis": axis, "keepdims": bool(keepdim), "nan_first": False})
    return pick(KthValue, x, index, axis, bool(keepdim))


@operation(Median, samples=_median_samples)
def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median, the lower of the middle two where their number is even; NaN if there is one.

    Of the whole tensor, as a tensor (equal elements share the gradient); along ``dim``, as a named tuple
    ``(values, indices)``.
    """
    x = operand(x)
    if dim is None:
        return apply(Median, (x,), {"axis": None, "keepdims": False})
    axis: Any = axes("median", x, dim)
    k = (_size(x, axis) + 1) // 2
    index = apply(ArgKth, (x,), {"k": k, "axis": axis, "keepdims": bool(keepdim), "nan_first": True})
    return pick(MedianAlong, x, index, axis, bool(keepdim))


def _size(x: Any, axis: int | None) -> int:
    return x.shape[axis] if x.ndim else 1


def _rank(name: str, x: Any, k: Any, axis: int, lowest: int) -> int:
    k = int(k)
    if not lowest <= k <= _size(x, axis):
        raise OperationError(
            f"{name} at {describe(mark())}: k={k} is not between {lowest} and {_size(x, axis)}, "
            f"the size of dimension {axis} of shape {tuple(x.shape)}."
        )
    return k
