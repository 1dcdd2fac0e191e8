"""Variances, standard deviations and norms."""

from __future__ import annotations

import math
from math import prod
from typing import Any

from ...ops.norms import Norm
from ...ops.statistics import Std, Var
from ..ir.build import Builder
from ..ir.program import Value
from .extremes import kept
from .table import lowering

Params = dict[str, Any]


@lowering(Var, rules="traced")
def variance(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The mean square of the deviations from the mean."""
    (x,), axis = inputs, params["axis"]
    if not x.size:
        return None
    count = x.size // prod(kept(x.shape, axis))
    freedom = max(count - params["correction"], 0.0)
    middle = b.elementwise("div", b.reduce("sum", x, axis, True), float(count))
    apart = b.elementwise("sub", x, middle)
    total = b.reduce("sum", b.elementwise("mul", apart, apart), axis, True)
    return b.reshape(b.elementwise("div", total, float(freedom)), like.shape)


@lowering(Std, rules="traced")
def deviation(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The root of the variance."""
    made = variance(b, inputs, params, op, like)
    return None if made is None else b.elementwise("sqrt", made)


@lowering(Norm, rules="traced")
def norm(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The sum, the largest or the root of the sum of squares of sizes, or of any power of them."""
    (x,), (p, axis, _) = inputs, params.values()
    if not x.size or x.kind != "f":
        return None
    size = b.elementwise("abs", x)
    if p == 1:
        return b.reshape(b.reduce("sum", size, axis, True), like.shape)
    if math.isinf(p):
        return b.reshape(b.reduce("max" if p > 0 else "min", size, axis, True), like.shape)
    if p == 0:
        return b.reshape(b.reduce("sum", b.cast(b.elementwise("ne", x, 0.0), x.dtype), axis, True), like.shape)
    if p != 2:
        total = b.reduce("sum", b.elementwise("pow", size, p), axis, True)
        return b.reshape(b.elementwise("pow", total, 1.0 / p), like.shape)
    # Sizes beside the largest one cannot overflow, nor vanish, when they are squared.
    top = b.reduce("max", size, axis, True)
    usable = b.elementwise("and", b.elementwise("gt", top, 0.0), b.elementwise("lt", top, math.inf))
    unit = b.elementwise("where", usable, top, 1.0)
    share = b.elementwise("div", x, unit)
    total = b.reduce("sum", b.elementwise("mul", share, share), axis, True)
    return b.reshape(b.elementwise("mul", b.elementwise("sqrt", total), unit), like.shape)
