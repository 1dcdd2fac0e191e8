"""Softmax and its relatives: exponentials relative to their sum, without overflow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import LIBRARY, NUMPY, to_float
from .reduction import Dims, floating, one_axis, reduction_samples, settings, spread, spread_form


class LogSumExp(Op):
    """Logarithm of the sum of exponentials, the largest taken out first."""

    formula = "y = ln Σ exp x"
    gate = "distributes by softmax: each element receives the share exp(x − y)"
    domain = "all real inputs and −∞; −∞ and slope NaN where every element is −∞"

    @classmethod
    def gradient_form(cls, name, ctx):
        g, meaning = spread_form(ctx)
        return f"{g} ⊙ softmax(x); {meaning}"

    def forward(x, *, axis, keepdims):
        top = np.maximum.reduce(x, axis=axis, keepdims=True, initial=-math.inf)
        top = np.where(np.isfinite(top), top, top.dtype.type(0))
        total = np.add.reduce(np.exp(x - top), axis=axis, keepdims=True)
        out = np.log(total) + top
        return out if keepdims else out.squeeze(axis)

    def vjp_x(ctx, g, x, out):
        return LIBRARY.gated(spread(g, ctx.shapes[0], **ctx.params), _shares(ctx, x, out))

    def jvp_x(ctx, t, x, out):
        return LIBRARY.gated(t, _shares(ctx, x, out)).sum(**ctx.params)

    def samples(rng):
        return (
            Sample(s.args[0], *(s.args[1:] or [tuple(range(s.args[0].ndim))]), **s.kwargs)
            for s in reduction_samples(rng)
        )


def _shares(ctx: Any, x: Any, out: Any) -> Any:
    """The softmax: exp(x − y), divided by its sum because y, if large, is rounded coarsely."""
    shares = LIBRARY.exp(x - spread(out, ctx.shapes[0], **ctx.params))
    total = shares.sum(axis=ctx.params["axis"], keepdims=True)
    return shares / LIBRARY.where(total != total, 1.0, total)  # NaN stays where it is


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 4)), 1)
    yield Sample(rng.normal(size=(2, 3, 4)), 1)
    yield Sample(rng.normal(size=(5,)), -1)
    yield Sample(rng.normal(size=()), 0)
    yield Sample(rng.normal(size=(0, 3)), 1)
    yield Sample(rng.normal(size=(3, 0)), 1)


class Softmax(Op):
    """Exponentials divided by their sum along a dimension."""

    formula = "y = exp x / Σ exp x"
    gate = "y ⊙ (dy − Σ y dy): what all outputs have in common is taken out"
    gradients: ClassVar = {"x": "out ⊙ (g − Σ_row(out ⊙ g)); Σ_row: along the dimension of the softmax"}
    samples = _samples

    def forward(x, *, axis):
        out = np.exp(_lowered(x, axis))
        out /= np.add.reduce(out, axis=axis, keepdims=True)
        return out

    def vjp_x(ctx, g, out):
        return _project(g, out, ctx.params["axis"])

    def jvp_x(ctx, t, out):
        return _project(t, out, ctx.params["axis"])


class LogSoftmax(Op):
    """Logarithm of the softmax, exact where the softmax would vanish."""

    name = "log_softmax"
    formula = "y = x − ln Σ exp x"
    gate = "dy − softmax(x) Σ dy"
    gradients: ClassVar = {"x": "g − softmax(x) ⊙ Σ_row(g); Σ_row: along the dimension of the softmax"}
    samples = _samples

    def forward(x, *, axis):
        out = _lowered(x, axis)
        out -= np.log(np.add.reduce(np.exp(out), axis=axis, keepdims=True))
        return out

    def vjp_x(ctx, g, out):
        share = LIBRARY.exp(out)
        total = g.sum(axis=ctx.params["axis"], keepdims=True)
        if isinstance(share, np.ndarray):
            share = NUMPY.gated(total, share)
            return np.subtract(g, share, out=share)
        return g - LIBRARY.gated(total, share)

    def jvp_x(ctx, t, out):
        return t - LIBRARY.gated(t, LIBRARY.exp(out)).sum(axis=ctx.params["axis"], keepdims=True)


def _lowered(x: Any, axis: int | None) -> Any:
    """``x`` minus its largest entry, in new memory."""
    return np.asarray(x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-math.inf))


def _project(g: Any, y: Any, axis: int | None) -> Any:
    """``y (g − Σ y g)``: the product with the softmax's symmetric Jacobian ``diag y − y yᵀ``."""
    weighted = LIBRARY.gated(g, y)
    common = weighted.sum(axis=axis, keepdims=True)
    if isinstance(weighted, np.ndarray):
        weighted -= NUMPY.gated(common, y)
        return weighted
    return weighted - LIBRARY.gated(common, y)


def _along(op: type[Op], name: str, x: Any, dim: int | None, dtype: Any) -> Tensor:
    x = floating(name, x, dtype)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        warnings.warn(f"{name}: no dim was given and {dim} is used, as PyTorch does; say which is meant.", stacklevel=3)
    axis = one_axis(name, x, dim)
    return apply(op, (x,), {"axis": axis if x.ndim else None})


@operation(LogSumExp)
def logsumexp(x: Any, dim: Dims, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``dim`` (one or several), without overflow; integers are converted to floats.

    >>> import backlit as bl
    >>> bl.logsumexp(bl.tensor([1000.0, 1000.0]), dim=0)
    tensor(1000.6932)
    """
    x = to_float(x)
    return apply(LogSumExp, (x,), settings("logsumexp", x, dim, keepdim, None, False))


@operation(Softmax)
def softmax(x: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Softmax along ``dim``: positive numbers that add up to 1.

    ``dtype`` converts the input first. Without ``dim`` PyTorch's old choice is made, with a warning.

    Raises:
        OperationError: the dtype is not floating, or there is no such dimension.

    >>> import backlit as bl
    >>> bl.softmax(bl.tensor([0.0, 0.0]), dim=0)
    tensor([0.5, 0.5])
    """
    return _along(Softmax, "softmax", x, dim, dtype)


@operation(LogSoftmax)
def log_softmax(x: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """``log(softmax(x))`` along ``dim``, finite for every finite input; arguments as for :func:`softmax`."""
    return _along(LogSoftmax, "log_softmax", x, dim, dtype)


@operation(formula="y = exp(−x) / Σ exp(−x)", gate="as softmax, with the sign changed", samples=_samples)
def softmin(x: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """``softmax(-x)`` along ``dim``: the smallest entry gets the largest share."""
    return _along(Softmax, "softmin", -floating("softmin", x, dtype), dim, None)
