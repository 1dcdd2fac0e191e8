"""Variance and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import LIBRARY
from .reduction import Dims, floating, reduced_size, reduction_samples, settings, spread, spread_form


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield from (s for s in reduction_samples(rng) if s.args[0].ndim)
    yield Sample(rng.normal(size=(3, 4)), 1, correction=0)
    yield Sample(rng.normal(size=(3, 4)), unbiased=False)


def _freedom(shape: tuple[int, ...], axis: Any, correction: float) -> float:
    """The divisor: how many numbers, less the correction, and never below zero."""
    return max(0.0, reduced_size(shape, axis) - correction)


def _deviations(x: Any, axis: Any) -> Any:
    if not reduced_size(x.shape, axis):  # NumPy warns of the mean of nothing; there are no deviations either
        return x - 0.0
    return x - x.mean(axis=axis, keepdims=True)


class Var(Op):
    """Mean square of the deviations from the mean, in two passes."""

    formula = "y = Σ (x − x̄)² / (n − correction)"
    gate = "scales by 2(x − x̄)/(n − correction)"
    domain = "more than `correction` elements"
    samples = _samples

    @classmethod
    def gradient_form(cls, name, ctx):
        m = _freedom(ctx.shapes[0], ctx.params["axis"], ctx.params["correction"])
        g, meaning = spread_form(ctx)
        return f"{g} ⊙ (2/m · (x − mean(x))); m = {m:g}, mean: over the same elements, {meaning}"

    def forward(x, *, axis, keepdims, correction):
        d = _deviations(x, axis)
        d *= d
        return np.add.reduce(d, axis=axis, keepdims=keepdims) / _freedom(x.shape, axis, correction)

    def vjp_x(ctx, g, x):
        axis, keepdims, correction = ctx.params.values()
        scale = 2.0 / (_freedom(x.shape, axis, correction) or math.nan)
        return LIBRARY.gated(spread(g * scale, x.shape, axis, keepdims), _deviations(x, axis))

    def jvp_x(ctx, t, x):
        axis, keepdims, correction = ctx.params.values()
        scale = 2.0 / (_freedom(x.shape, axis, correction) or math.nan)
        return LIBRARY.gated(t, _deviations(x, axis)).sum(axis=axis, keepdims=keepdims) * scale


class Std(Op):
    """Square root of the variance. Where it is 0, its slope is taken as 0."""

    formula = "y = √(Σ (x − x̄)² / (n − correction))"
    gate = "scales by (x − x̄)/(y (n − correction))"
    domain = "more than `correction` elements; kink where all are equal, where the slope 0 is used"
    samples = _samples

    @classmethod
    def gradient_form(cls, name, ctx):
        m = _freedom(ctx.shapes[0], ctx.params["axis"], ctx.params["correction"])
        g, meaning = spread_form(ctx)
        y = g.replace("g", "out")
        return f"{g} ⊙ ((x − mean(x))/(m · {y})); m = {m:g}, mean: over the same elements, {meaning}"

    def forward(x, **params):
        return np.sqrt(Var.forward(x, **params))

    def vjp_x(ctx, g, x, out):
        axis, keepdims, _ = ctx.params.values()
        upstream = LIBRARY.gated(g, _inverse(ctx, x, out))
        return LIBRARY.gated(spread(upstream, x.shape, axis, keepdims), _deviations(x, axis))

    def jvp_x(ctx, t, x, out):
        axis, keepdims, _ = ctx.params.values()
        return LIBRARY.gated(t, _deviations(x, axis)).sum(axis=axis, keepdims=keepdims) * _inverse(ctx, x, out)


def _inverse(ctx: Any, x: Any, out: Any) -> Any:
    """1/(y (n − correction)), and 0 where y is 0."""
    axis, _, correction = ctx.params.values()
    still = out == 0
    freedom = _freedom(x.shape, axis, correction) or math.nan
    return LIBRARY.where(still, 0.0, 1.0 / (LIBRARY.where(still, 1.0, out) * freedom))


def _spread_of(op: type[Op], x: Any, dim: Any, keepdim: Any, unbiased: Any, correction: Any, axis: Any) -> Tensor:
    if isinstance(dim, bool):  # var(x, unbiased), PyTorch's older form
        dim, unbiased = None, dim
    if correction is not None and unbiased is not None:
        raise OperationError(f"{op.name} at {describe(mark())}: give either correction= or unbiased=, not both.")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    x = floating(op.name, x)
    return apply(op, (x,), {**settings(op.name, x, dim, keepdim, axis, False), "correction": correction})


@operation(Var)
def var(
    x: Any,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Variance over all dimensions, or over ``dim``; the divisor is the number of elements less ``correction``.

    Args:
        correction: 1 unless given (Bessel's correction); 0 gives the mean squared deviation.
        unbiased: the older way to say ``correction=1`` (True) or ``correction=0`` (False).

    Raises:
        OperationError: the dtype is not floating, or both ``unbiased`` and ``correction`` are given.

    >>> import backlit as bl
    >>> bl.var(bl.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _spread_of(Var, x, dim, keepdim or keepdims, unbiased, correction, axis)


@operation(Std)
def std(
    x: Any,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Standard deviation over all dimensions, or over ``dim``: the square root of :func:`var`, arguments as there."""
    return _spread_of(Std, x, dim, keepdim or keepdims, unbiased, correction, axis)
