"""Reductions: sums, means, products, and questions about all elements, along dimensions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import LIBRARY, operand

Dims = int | tuple[int, ...] | list[int] | None
Axes = int | tuple[int, ...] | None


# -- dimensions ---------------------------------------------------------------------------------------------------


def axes(name: str, x: Any, dim: Dims) -> Axes:
    """A dimension argument as NumPy takes it: None for all (also for an empty list, as in PyTorch), else from 0 up.

    Raises:
        OperationError: a dimension that does not exist, or one named twice.
    """
    if dim is None:
        return None
    if isinstance(dim, (tuple, list)):
        several = tuple(one_axis(name, x, d) for d in dim)
        if len(set(several)) != len(several):
            raise OperationError(f"{name} at {describe(mark())}: dim={dim!r} names a dimension twice.")
        return several if x.ndim and several else None
    found = one_axis(name, x, dim)
    return found if x.ndim else None


def one_axis(name: str, x: Any, dim: Any) -> int:
    """One dimension, counted from 0; a 0-d tensor has dimension 0 by courtesy, as in PyTorch."""
    try:
        given = operator.index(dim)
    except TypeError:
        raise OperationError(
            f"{name} at {describe(mark())}: a dimension is a whole number, got {type(dim).__name__} {dim!r}."
        ) from None
    n = x.ndim or 1
    if not -n <= given < n:
        raise OperationError(
            f"{name} at {describe(mark())}: dimension {given} does not exist in a tensor of shape {tuple(x.shape)}; "
            f"choose one from {-n} to {n - 1}."
        )
    return given % n


def settings(name: str, x: Any, dim: Dims, keepdim: bool, axis: Any, keepdims: bool) -> dict[str, Any]:
    """Parameters of a reduction; ``axis`` and ``keepdims`` are NumPy's names, which PyTorch understands too."""
    return {"axis": axes(name, x, dim if axis is None else axis), "keepdims": bool(keepdim or keepdims)}


def spread(reduced: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """Give a reduced array (or tensor) back its reduced dimensions and stretch it to ``shape``, without copying."""
    if not keepdims and axis is not None:
        reduced = reduced.reshape(kept_shape(shape, axis))
    if isinstance(reduced, Tensor):
        return reduced.expand(shape)
    return np.broadcast_to(reduced, shape)


def spread_form(ctx: Any) -> tuple[str, str]:
    """How a formula calls the upstream gradient of a reduction, spread over what was reduced, and what that means."""
    if ctx.shape == () or ctx.params["keepdims"]:
        return "g", ""
    return "spread(g)", "spread: copies along the reduced dimensions"


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape after reducing ``axis`` with the reduced dimensions kept as 1."""
    reduced = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)} if shape else set()
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def reduced_size(shape: tuple[int, ...], axis: Axes) -> int:
    """How many elements each result of a reduction is made of."""
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def floating(name: str, x: Any, dtype: Any = None) -> Any:
    """``x`` as a tensor or array of floating dtype, converted to ``dtype`` if one is given.

    Raises:
        OperationError: the dtype is not floating.
    """
    x = operand(x)
    if dtype is not None:
        x = x.astype(dtype)
    if x.dtype.kind != "f":
        raise OperationError(
            f"{name} at {describe(mark())}: needs a floating dtype, the tensor is {x.dtype.name}; "
            f"convert it first, for example with .float()."
        )
    return x


def counted(x: Any, dtype: Any = None) -> Any:
    """``x`` ready to be added up: in ``dtype`` if one is given, booleans and integers as int64."""
    x = operand(x)
    if dtype is not None:
        return x.astype(dtype)
    return x.astype(np.int64) if x.dtype.kind in "biu" and x.dtype != np.int64 else x


def reduction_samples(rng: np.random.Generator, draw: Callable[..., Any] | None = None) -> Iterable[Sample]:
    """Whole, along one dimension, along several, kept or not, 0-d, without elements in the dimensions that stay."""
    draw = draw or (lambda *shape: rng.normal(size=shape))
    yield Sample(draw(3, 4))
    yield Sample(draw(3, 4), 0)
    yield Sample(draw(2, 3, 4), (0, 2), keepdim=True)
    yield Sample(draw(2, 3, 4), -1)
    yield Sample(draw())
    yield Sample(draw(0, 3), 1)


# -- sums and means -----------------------------------------------------------------------------------------------


class Sum(Op):
    """Sum over dimensions."""

    formula = "y = Σ x"
    gate = "copies: every summed element receives the same upstream gradient"

    @classmethod
    def gradient_form(cls, name, ctx):
        return "; ".join(spread_form(ctx))

    def forward(x, *, axis, keepdims):
        if x.itemsize == 2:  # float16 holds whole numbers up to 2048 only: added up in float32
            return np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=np.float32).astype(x.dtype)
        return np.add.reduce(x, axis=axis, keepdims=keepdims)

    def vjp_x(ctx, g):
        return spread(g, ctx.shapes[0], **ctx.params)

    samples = reduction_samples


class Mean(Op):
    """Mean over dimensions."""

    formula = "y = 1/n Σ x"
    gate = "copies, divided by the number of elements averaged"

    @classmethod
    def gradient_form(cls, name, ctx):
        n = reduced_size(ctx.shapes[0], ctx.params["axis"])
        g, meaning = spread_form(ctx)
        return f"{g}/n; n = {n}, {meaning}"

    def forward(x, *, axis, keepdims):
        count = reduced_size(x.shape, axis) or math.nan
        if x.itemsize == 2:
            return (np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=np.float32) / count).astype(x.dtype)
        return np.add.reduce(x, axis=axis, keepdims=keepdims) / count

    def vjp_x(ctx, g):
        shape = ctx.shapes[0]
        return spread(g / (reduced_size(shape, ctx.params["axis"]) or math.nan), shape, **ctx.params)

    samples = reduction_samples


@operation(Sum)
def sum(
    x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Sum over all dimensions, or over ``dim``. Booleans and integers give int64.

    >>> import backlit as bl
    >>> bl.sum(bl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    x = counted(x, dtype)
    return apply(Sum, (x,), settings("sum", x, dim, keepdim, axis, keepdims))


@operation(Mean)
def mean(
    x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Mean over all dimensions, or over ``dim``; NaN where there is nothing to average.

    Raises:
        OperationError: the dtype is not floating.
    """
    x = floating("mean", x, dtype)
    return apply(Mean, (x,), settings("mean", x, dim, keepdim, axis, keepdims))


# -- products -----------------------------------------------------------------------------------------------------


class Prod(Op):
    """Product over a dimension."""

    formula = "y = Π x"
    gate = "scales by the product of the other elements; right with any number of zeros"

    @classmethod
    def gradient_form(cls, name, ctx):
        g, meaning = spread_form(ctx)
        return f"{g} ⊙ others(x); others: for each element the product of all others, {meaning}"

    def forward(x, *, axis, keepdims):
        return np.multiply.reduce(x, axis=axis, keepdims=keepdims)

    def vjp_x(ctx, g, x, out):
        return LIBRARY.gated(spread(g, ctx.shapes[0], **ctx.params), _others(ctx, x, out))

    def jvp_x(ctx, t, x, out):
        return LIBRARY.gated(t, _others(ctx, x, out)).sum(**ctx.params)

    def samples(rng):
        yield from (s for s in reduction_samples(rng) if not s.args[1:] or isinstance(s.args[1], int))
        zeros = rng.normal(size=(3, 5))
        zeros[0, 2] = zeros[1, 1] = zeros[1, 4] = 0.0
        yield Sample(zeros, 1)
        yield Sample(zeros[0], keepdim=True)


def _others(ctx: Any, x: Any, out: Any) -> Any:
    """For each element the product of the others: by division where that is exact, else by a tree of products."""
    axis = ctx.params["axis"]
    plain = getattr(out, "_data", out)
    if np.all(plain) and np.all(np.isfinite(plain)):
        return spread(out, ctx.shapes[0], **ctx.params) / x
    if axis is None:
        return _exclusive_products(x.reshape(-1), 0).reshape(ctx.shapes[0])
    return _exclusive_products(x, axis)


def _exclusive_products(x: Any, axis: int) -> Any:
    """Along ``axis``, the product of all elements but one, for each one, without division.

    Elements are multiplied in pairs; what remains without one of them is what remains without its pair, times its
    partner. Only products are used, so derivatives of every order are exact at zeros too.
    """
    n = x.shape[axis]
    if n < 2:
        ones = np.ones(x.shape, x.dtype)
        return constant(ones) if isinstance(x, Tensor) else ones
    half = n // 2
    left, right, odd = (part(x, axis, *ends) for ends in ((0, half), (half, 2 * half), (2 * half, n)))
    outside = _exclusive_products(joined([left * right, odd], axis), axis)
    pairs = part(outside, axis, 0, half)
    return joined([pairs * right, pairs * left, part(outside, axis, half, n)], axis)


def part(x: Any, axis: int, start: int, stop: int) -> Any:
    """Elements ``start`` to ``stop`` along ``axis``."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def joined(parts: list[Any], axis: int) -> Any:
    """Parts put together along ``axis``."""
    if isinstance(parts[0], Tensor):
        return LIBRARY.cat(parts, axis)
    return np.concatenate(parts, axis)


@operation(Prod)
def prod(
    x: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Product of all elements, or along ``dim``. Booleans and integers give int64.

    The gradient is right where elements are zero: with one zero only that element receives any, with more none does.

    >>> import backlit as bl
    >>> x = bl.tensor([2.0, 0.0, 5.0], requires_grad=True)
    >>> bl.prod(x).backward()
    >>> x.grad
    tensor([ 0., 10.,  0.])
    """
    x = counted(x, dtype)
    return apply(Prod, (x,), settings("prod", x, dim, keepdim, axis, keepdims))


# -- questions ----------------------------------------------------------------------------------------------------


def _boolean_samples(rng: np.random.Generator) -> Iterable[Sample]:
    return reduction_samples(rng, lambda *shape: rng.random(shape) < 0.7)


class Any_(Op):
    """Whether some element is true (not zero)."""

    name = "any"
    formula = "y = ⋁ (x ≠ 0)"
    gate = "blocks: the result is not a number that varies smoothly"
    differentiable = False
    samples = _boolean_samples

    def forward(x, *, axis, keepdims):
        return np.logical_or.reduce(x, axis=axis, keepdims=keepdims)


class All_(Op):
    """Whether every element is true (not zero)."""

    name = "all"
    formula = "y = ⋀ (x ≠ 0)"
    gate = Any_.gate
    differentiable = False
    samples = _boolean_samples

    def forward(x, *, axis, keepdims):
        return np.logical_and.reduce(x, axis=axis, keepdims=keepdims)


class CountNonzero(Op):
    """How many elements are not zero."""

    name = "count_nonzero"
    formula = "y = #{x ≠ 0}"
    gate = Any_.gate
    differentiable = False

    def forward(x, *, axis):
        return np.count_nonzero(x, axis=axis)

    def samples(rng):
        return (Sample(*s.args) for s in _boolean_samples(rng))


@operation(Any_)
def any(x: Any, dim: Dims = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether some element is not zero, of all or along ``dim``; False where there are none. NaN counts as not zero."""
    x = operand(x)
    return apply(Any_, (x,), settings("any", x, dim, keepdim, axis, keepdims))


@operation(All_)
def all(x: Any, dim: Dims = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether no element is zero, of all or along ``dim``; True where there are none."""
    x = operand(x)
    return apply(All_, (x,), settings("all", x, dim, keepdim, axis, keepdims))


@operation(CountNonzero)
def count_nonzero(x: Any, dim: Dims = None, *, axis: Any = None) -> Tensor:
    """How many elements are not zero, of all or along ``dim``, as int64. NaN counts."""
    x = operand(x)
    return apply(CountNonzero, (x,), {"axis": axes("count_nonzero", x, dim if axis is None else axis)})
