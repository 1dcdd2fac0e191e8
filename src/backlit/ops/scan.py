"""Scans: running sums and products, and the linear recurrence that their gradients are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import LIBRARY
from .reduction import counted, floating, joined, one_axis, part


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(5,)), 0)
    yield Sample(rng.normal(size=(3, 4)), 0)
    yield Sample(rng.normal(size=(2, 3, 4)), -1)
    yield Sample(rng.normal(size=(2, 1)), 1)
    yield Sample(rng.normal(size=()), 0)
    yield Sample(rng.normal(size=(2, 0)), 1)


class CumSum(Op):
    """Running sum along a dimension; ``reverse`` runs from the end."""

    formula = "yₖ = Σ_{j≤k} xⱼ"
    gate = "adds up: each element receives the sum of the upstream gradients from its place on"
    gradients: ClassVar = {"x": "Σ_from(g); Σ_from: over each place and all after it"}
    samples = _samples

    def forward(x, *, axis, reverse):
        if reverse:
            return np.flip(np.add.accumulate(np.flip(x, axis), axis=axis), axis)
        return np.add.accumulate(x, axis=axis)

    def vjp_x(ctx, g):
        return apply(CumSum, (g,), {"axis": ctx.params["axis"], "reverse": not ctx.params["reverse"]})


class CumProd(Op):
    """Running product along a dimension."""

    formula = "yₖ = Π_{j≤k} xⱼ"
    gate = "scales by the product of the other elements and adds up; right with any number of zeros"

    def forward(x, *, axis):
        return np.multiply.accumulate(x, axis=axis)

    def vjp_x(ctx, g, x, out):
        axis = ctx.params["axis"]
        if _divisible(out):
            return apply(CumSum, (g * out,), {"axis": axis, "reverse": True}) / x
        following = linear_recurrence(part(x, axis, 1, x.shape[axis]), g, axis, reverse=True)
        return following * _before(out, axis)

    def jvp_x(ctx, t, x, out):
        axis = ctx.params["axis"]
        if _divisible(out):
            return apply(CumSum, (t / x,), {"axis": axis, "reverse": False}) * out
        return linear_recurrence(part(x, axis, 1, x.shape[axis]), t * _before(out, axis), axis)

    def samples(rng):
        yield from _samples(rng)
        zeros = rng.normal(size=(3, 7))
        zeros[0, 3] = zeros[1, 2] = zeros[1, 5] = zeros[2, 0] = zeros[2, 6] = 0.0
        yield Sample(zeros, 1)


class LogCumSumExp(Op):
    """Logarithm of the running sum of exponentials along a dimension, without overflow."""

    formula = "yₖ = ln Σ_{j≤k} exp xⱼ"
    gate = "adds up the upstream gradients from each place on, weighted by exp(x − y)"
    samples = _samples

    def forward(x, *, axis):
        return np.logaddexp.accumulate(x, axis=axis)

    def vjp_x(ctx, g, x, out):
        axis = ctx.params["axis"]
        return linear_recurrence(_decay(out, axis), g, axis, reverse=True) * LIBRARY.exp(x - out)

    def jvp_x(ctx, t, x, out):
        axis = ctx.params["axis"]
        return linear_recurrence(_decay(out, axis), t * LIBRARY.exp(x - out), axis)


def _divisible(out: Any) -> bool:
    """Whether a running product was free of zeros and infinities, so that an element can be divided out of it."""
    plain = getattr(out, "_data", out)
    return bool(plain.all() and np.isfinite(plain).all())


def _before(out: Any, axis: int) -> Any:
    """The product of the elements before each place."""
    shape = (*out.shape[:axis], 1, *out.shape[axis + 1 :])
    ones = np.ones(shape, out.dtype)
    n = out.shape[axis]
    return joined([constant(ones) if isinstance(out, Tensor) else ones, part(out, axis, 0, n - 1)], axis)


def _decay(out: Any, axis: int) -> Any:
    """By which factor the weights of all earlier elements shrink when one more is added: exp(yₖ − yₖ₊₁) ≤ 1."""
    n = out.shape[axis]
    return LIBRARY.exp(part(out, axis, 0, n - 1) - part(out, axis, 1, n))


def linear_recurrence(factors: Any, terms: Any, axis: int, reverse: bool = False) -> Any:
    """``sₖ = termsₖ + factorₖ · sₖ₋₁`` along ``axis`` (``factors`` is one shorter), or from the end backwards.

    Steps are doubled (Hillis & Steele 1986): about log₂ n passes over whole arrays, no division.
    """
    n = terms.shape[axis]
    step = 1
    while step < n:
        if reverse:
            grown = part(terms, axis, 0, n - step) + factors * part(terms, axis, step, n)
            terms = joined([grown, part(terms, axis, n - step, n)], axis)
        else:
            grown = part(terms, axis, step, n) + factors * part(terms, axis, 0, n - step)
            terms = joined([part(terms, axis, 0, step), grown], axis)
        left = n - step
        if left > step:
            factors = part(factors, axis, step, left) * part(factors, axis, 0, left - step)
        step *= 2
    return terms


def _scan(op: type[Op], name: str, x: Any, dim: Any, **params: Any) -> Tensor:
    """Apply a scan; a 0-d tensor is a line of one element."""
    params["axis"] = one_axis(name, x, dim)
    return apply(op, (x,), params) if x.ndim else apply(op, (x.reshape((1,)),), params).reshape(())


@operation(CumSum)
def cumsum(x: Any, dim: int | None = None, *, dtype: Any = None, axis: Any = None) -> Tensor:
    """Running sum along ``dim``: entry k is the sum of entries 0 … k. Booleans and integers give int64.

    >>> import backlit as bl
    >>> bl.cumsum(bl.tensor([1.0, 2.0, 3.0]), 0)
    tensor([1., 3., 6.])
    """
    x = counted(x, dtype)
    return _scan(CumSum, "cumsum", x, dim if axis is None else axis, reverse=False)


@operation(CumProd)
def cumprod(x: Any, dim: int | None = None, *, dtype: Any = None, axis: Any = None) -> Tensor:
    """Running product along ``dim``. Booleans and integers give int64. The gradient is right at zeros."""
    x = counted(x, dtype)
    return _scan(CumProd, "cumprod", x, dim if axis is None else axis)


@operation(LogCumSumExp)
def logcumsumexp(x: Any, dim: int) -> Tensor:
    """``log(cumsum(exp(x)))`` along ``dim``, without overflow.

    Raises:
        OperationError: the dtype is not floating.
    """
    return _scan(LogCumSumExp, "logcumsumexp", floating("logcumsumexp", x), dim)
