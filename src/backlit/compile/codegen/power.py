"""Powers with real exponents, with NumPy's special cases."""

from __future__ import annotations

import math

from .exponential import exp
from .libm import per_lane
from .logarithm import log
from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder


def pow(b: VectorBuilder, x: Value, y: Value) -> Value:
    """x to the power y. In float32 as e^(y ln|x|) computed in float64; in float64 by the C library."""
    x, y = y.like(x) if not isinstance(x, Value) else x, x.like(y) if isinstance(x, Value) else y
    if x.element != FLOAT:
        return per_lane(b, "pow", x, y)
    with b.flagged():
        size = b.intrinsic("fabs", x)
        power = exp(b, b.convert(y, DOUBLE) * log(b, b.convert(size, DOUBLE)))
        return _signed(b, x, y, size, b.convert(power, FLOAT))


def _signed(b: VectorBuilder, x: Value, y: Value, size: Value, power: Value) -> Value:
    """Sign of negative bases, and the cases where the logarithm says nothing."""
    whole = b.intrinsic("trunc", y) == y
    half = y * 0.5
    odd = whole & (b.intrinsic("trunc", half) != half)
    signed = b.where(odd, b.intrinsic("copysign", power, x), power)
    undefined = (x < 0) & ~whole & (size < math.inf)
    signed = b.where(undefined, math.nan, signed)
    one = (y == 0) | (x == 1) | ((x == -1) & (b.intrinsic("fabs", y) == math.inf))
    return b.where(one, 1.0, signed)


__all__ = ["pow"]
