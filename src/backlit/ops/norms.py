"""Norms of vectors: how long they are, in the sense of p."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from ..errors import OperationError, UnsupportedError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import LIBRARY, NUMPY
from .reduction import Dims, axes, floating, spread, spread_form


def _samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 4)))
    for p in (2, 1, 3.5, 1.5, -2.0, math.inf, -math.inf):
        yield Sample(rng.normal(size=(3, 4)), p, 1)
    yield Sample(rng.normal(size=(2, 3, 4)), 2, (0, 2), keepdim=True)
    yield Sample(rng.normal(size=(2, 3, 4)), 1)
    yield Sample(rng.normal(size=()))
    yield Sample(rng.normal(size=(0, 3)), 2, 1)


class Norm(Op):
    """The p-norm of the elements over dimensions."""

    formula = "y = (Σ |x|^p)^(1/p)"
    gate = "scales by sign(x) (|x|/y)^(p−1): for p = 2, by the unit vector x/y"
    domain = "not differentiable at the zero vector, where the slope 0 is used; for p ≤ 1 nor where an element is 0"
    samples = _samples

    @classmethod
    def gradient_form(cls, name, ctx):
        g, meaning = spread_form(ctx)
        forms = {1: "sign(x)", 2: f"(x/{g.replace('g', 'out')})"}
        slope = forms.get(ctx.params["p"])
        return "" if slope is None else f"{g} ⊙ {slope}; {meaning}"

    def forward(x, *, p, axis, keepdims):
        if p == 2:
            return _euclidean(x, axis, keepdims)
        if p == 0:
            return np.add.reduce(x != 0, axis=axis, keepdims=keepdims, dtype=x.dtype)
        a = np.abs(x)
        if p == 1:
            return np.add.reduce(a, axis=axis, keepdims=keepdims)
        if math.isinf(p):
            return (np.maximum if p > 0 else np.minimum).reduce(a, axis=axis, keepdims=keepdims)
        return np.add.reduce(a**p, axis=axis, keepdims=keepdims) ** (1.0 / p)

    def vjp_x(ctx, g, x, out):
        p, axis, keepdims = ctx.params.values()
        if p == 2 and not isinstance(g, Tensor):  # the zero vector stays zero whatever it is divided by
            unit = x / spread(out + (out == 0), x.shape, axis, keepdims)
            return NUMPY.gated(spread(g, x.shape, axis, keepdims), unit)
        slope = _slope(x, spread(out, x.shape, axis, keepdims), p, axis)
        return LIBRARY.gated(spread(g, x.shape, axis, keepdims), slope)

    def jvp_x(ctx, t, x, out):
        p, axis, keepdims = ctx.params.values()
        slope = _slope(x, spread(out, x.shape, axis, keepdims), p, axis)
        return LIBRARY.gated(t, slope).sum(axis=axis, keepdims=keepdims)


def _euclidean(x: Any, axis: Any, keepdims: Any) -> Any:
    """√Σx², scaled by the largest element where the squares would overflow or vanish (Blue 1978)."""
    if axis is None and not keepdims:
        flat = x.reshape(-1)
        total = np.dot(flat, flat)
    else:
        total = np.add.reduce(np.square(x), axis=axis, keepdims=keepdims)
    if x.size and total.size and not (_tiny(x.dtype) <= total.min() and total.max() < math.inf):
        largest = np.maximum.reduce(np.abs(x), axis=axis, keepdims=True, initial=0)
        scale = np.where((largest > 0) & (largest < math.inf), largest, largest.dtype.type(1))
        total = np.add.reduce(np.square(x / scale), axis=axis, keepdims=True)
        total = np.sqrt(total) * scale
        return total if keepdims else total.squeeze(axis)
    return np.sqrt(total)


@cache
def _tiny(dtype: Any) -> float:
    """Sums of squares below this have lost digits to underflow."""
    return float(np.finfo(dtype).smallest_normal / np.finfo(dtype).eps)


def _slope(x: Any, out: Any, p: float, axis: Any) -> Any:
    """The derivative of the norm by each element; ``out`` is spread to the shape of ``x``."""
    if p == 0:
        return LIBRARY.sign(x) * 0.0
    if p == 1:
        return LIBRARY.sign(x)
    if math.isinf(p):
        chosen = LIBRARY.abs(x) == out
        count = chosen.sum(axis=axis, keepdims=True).astype(x.dtype)
        return LIBRARY.where(chosen, LIBRARY.sign(x) / count, 0.0)
    still = (out == 0) | (x == 0) if p < 2 else out == 0
    safe_out = LIBRARY.where(out == 0, 1.0, out)
    if p == 2:
        return LIBRARY.where(still, 0.0, x / safe_out)
    ratio = LIBRARY.where(still, 1.0, LIBRARY.abs(x) / safe_out)
    return LIBRARY.where(still, 0.0, LIBRARY.sign(x) * LIBRARY.pow(ratio, p - 1.0))


def _order(name: str, p: Any) -> float:
    if isinstance(p, str):
        if p == "fro":
            return 2.0
        if p == "nuc":
            raise UnsupportedError(
                f"{name} at {describe(mark())}: the nuclear norm needs singular values, which Backlit does not "
                "compute; 'fro' is the Euclidean norm."
            )
    try:
        return float(p)
    except (TypeError, ValueError):
        raise OperationError(
            f"{name} at {describe(mark())}: p={p!r} is not a norm; use a number, inf, -inf, or 'fro'."
        ) from None


@operation(Norm, samples=lambda rng: [Sample(s.args[0], *s.args[1:], **s.kwargs) for s in _samples(rng)])
def vector_norm(x: Any, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The ``ord``-norm of all elements taken as one vector, or over ``dim``.

    Args:
        ord: any number; 0 counts the elements that are not zero, ``inf`` and ``-inf`` take the largest and the smallest
            absolute value.

    Raises:
        OperationError: the dtype is not floating, or there is nothing to take the largest or smallest of.
    """
    x = floating("vector_norm", x, dtype)
    return apply(
        Norm, (x,), {"p": _order("vector_norm", ord), "axis": axes("vector_norm", x, dim), "keepdims": bool(keepdim)}
    )


@operation(Norm)
def norm(x: Any, p: Any = "fro", dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The p-norm of all elements, or over ``dim``: ``"fro"`` and 2 give the Euclidean length.

    At the zero vector, where it has no derivative, the gradient is 0.

    Raises:
        OperationError: the dtype is not floating, or ``p`` is not a norm.
        UnsupportedError: the nuclear norm.

    >>> import backlit as bl
    >>> bl.norm(bl.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = floating("norm", x, dtype)
    return apply(Norm, (x,), {"p": _order("norm", p), "axis": axes("norm", x, dim), "keepdims": bool(keepdim)})
