"""Whole quotients and remainders of divisions, with NumPy's special cases."""

from __future__ import annotations

import math

from .libm import per_lane
from .values import FLOAT, Value
from .vector import VectorBuilder


def fmod(b: VectorBuilder, x: Value, y: Value) -> Value:
    """The remainder with the sign of the dividend."""
    if not x.is_float:
        return _whole(b, x, y)[1]
    with b.flagged():
        return _exact_rest(b, x, y)


def remainder(b: VectorBuilder, x: Value, y: Value) -> Value:
    """The remainder with the sign of the divisor, as Python's ``%``."""
    if not x.is_float:
        rest = _whole(b, x, y)[1]
        return b.where(_across(rest, y), rest + y, rest)
    with b.flagged():
        rest = _exact_rest(b, x, y)
        signed = b.where(rest == 0, b.intrinsic("copysign", rest, y), b.where(_across(rest, y), rest + y, rest))
        return b.where(y == 0, math.nan, signed)


def floor_divide(b: VectorBuilder, x: Value, y: Value) -> Value:
    """The quotient rounded down, as Python's ``//``: from the exact remainder, since x / y may round up to a whole."""
    if not x.is_float:
        quotient, rest = _whole(b, x, y)
        return b.where(_across(rest, y), quotient - 1, quotient)
    with b.flagged():
        rest = _exact_rest(b, x, y)
        whole = (x - rest) / y
        whole = b.where(_across(rest, y), whole - 1.0, whole)
        down = b.intrinsic("floor", whole)
        down = b.where(whole - down > 0.5, down + 1.0, down)
        down = b.where(whole == 0, b.intrinsic("copysign", x.like(0.0), x / y), down)
        return b.where(y == 0, x / y, down)


def _across(rest: Value, y: Value) -> Value:
    """Where a remainder has another sign than the divisor."""
    return (rest != 0) & ((rest < 0) ^ (y < 0))


def _exact_rest(b: VectorBuilder, x: Value, y: Value) -> Value:
    """The remainder with the sign of the dividend, exactly.

    Below 2²⁴ (2⁵³) the rounded quotient, cut off, is the true one or larger by 1, and x less so many y is a number that
    exists. Larger quotients, infinities and zeros are left to the C library.
    """
    limit = 2.0**24 if x.element == FLOAT else 2.0**53
    quotient = x / y
    rest = b.fma(-b.intrinsic("trunc", quotient), y, x)
    beyond = (rest != 0) & ((rest < 0) ^ (x < 0))
    step = b.intrinsic("copysign", y, x)
    rest = b.intrinsic("copysign", b.where(beyond, rest + step, rest), x)
    usual = (b.intrinsic("fabs", quotient) < limit) & (b.intrinsic("fabs", y) < math.inf)
    return b.patched(rest, ~usual, lambda: per_lane(b, "fmod", x, y))


def _whole(b: VectorBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """Quotient and remainder of integers, cut off; 0 and 0 by 0, and no trap where the quotient is too large."""
    usual = (y != 0) & (y != -1)
    quotient = x // b.where(usual, y, 1)
    quotient = b.where(y == -1, -x, b.where(y == 0, 0, quotient))
    return quotient, b.where(usual, x - quotient * y, 0)


__all__ = ["floor_divide", "fmod", "remainder"]
