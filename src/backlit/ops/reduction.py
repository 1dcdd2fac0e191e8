"""Reductions: sums, means, products, extremes and norms along dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand

Dims = int | tuple[int, ...] | list[int] | None


def axes(dim: Dims) -> int | tuple[int, ...] | None:
    """A dimension argument in NumPy's form; an empty list means all dimensions, as in PyTorch."""
    if dim is None or isinstance(dim, int):
        return dim
    return tuple(int(d) for d in dim) or None


def spread(reduced: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """Give a reduced array (or tensor) back its reduced dimensions and stretch it to ``shape``, without copying."""
    if not keepdims and axis is not None:
        reduced = reduced.reshape(kept_shape(shape, axis))
    if isinstance(reduced, Tensor):
        return reduced.expand(shape)
    return np.broadcast_to(reduced, shape)


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape after reducing ``axis`` with the reduced dimensions kept as 1."""
    reduced = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)} if shape else set()
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def reduction_samples(rng: np.random.Generator, draw: Any = None) -> Any:
    """Whole, along one dimension, along several, kept or not, 0-d."""
    draw = draw or (lambda *shape: rng.normal(size=shape))
    yield Sample(draw(3, 4))
    yield Sample(draw(3, 4), 0)
    yield Sample(draw(2, 3, 4), (0, 2), keepdim=True)
    yield Sample(draw(2, 3, 4), -1)
    yield Sample(draw())


class Sum(Op):
    """Sum over dimensions."""

    formula = "y = Σ x"
    gate = "copies: every summed element receives the same upstream gradient"

    def forward(x, *, axis, keepdims):
        return np.add.reduce(x, axis=axis, keepdims=keepdims)

    def vjp_x(ctx, g):
        return spread(g, ctx.shapes[0], ctx.params["axis"], ctx.params["keepdims"])

    samples = reduction_samples


class Mean(Op):
    """Mean over dimensions."""

    formula = "y = 1/n Σ x"
    gate = "copies, divided by the number of elements averaged"

    def forward(x, *, axis, keepdims):
        return np.mean(x, axis=axis, keepdims=keepdims)

    def vjp_x(ctx, g):
        shape = ctx.shapes[0]
        count = _size(shape) / max(1, _size(ctx.shape))
        return spread(g / count if count else g, shape, ctx.params["axis"], ctx.params["keepdims"])

    samples = reduction_samples


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


@operation(Sum)
def sum(
    x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Sum over all dimensions, or over ``dim``. Booleans and integers give int64.

    >>> import backlit as bl
    >>> bl.sum(bl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    x = operand(x)
    if dtype is not None:
        x = x.astype(dtype)
    elif x.dtype.kind in "biu" and x.dtype != np.int64:
        x = x.astype(np.int64)
    return apply(Sum, (x,), {"axis": axes(dim if axis is None else axis), "keepdims": keepdim or keepdims})


@operation(Mean)
def mean(
    x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Mean over all dimensions, or over ``dim``; needs a floating dtype."""
    x = operand(x)
    if dtype is not None:
        x = x.astype(dtype)
    if x.dtype.kind != "f":
        from ..errors import OperationError
        from ..source import describe, mark

        raise OperationError(
            f"mean at {describe(mark())}: the tensor is {x.dtype.name}; convert it first, as in x.float().mean()."
        )
    return apply(Mean, (x,), {"axis": axes(dim if axis is None else axis), "keepdims": keepdim or keepdims})
