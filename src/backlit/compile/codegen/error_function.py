"""The error function and its complement.

Near 0, erf is a polynomial; further out erfc(x) = e^(−x²) W((x − 3)/(x + 3)) with a polynomial W, and x² is taken to
twice the precision, so that the complement is right far into its tail. Where only 1 − erfc is asked for, in float32,
the complement is 2^(x P(x)) with a polynomial P: no division, and right to what is left of it beside 1.
"""

from __future__ import annotations

from .exponential import exp, exp2_normal
from .polynomials import ERF, ERFC, LOG_ERFC, horner
from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder

_VANISHES = {FLOAT: 10.1, DOUBLE: 27.3}  # erfc rounds to 0 from here


def _near(b: VectorBuilder, x: Value) -> Value:
    """erf for |x| ≤ 1."""
    return b.muladd(x, horner(b, x * x, ERF[x.element]), x)


def _tail(b: VectorBuilder, x: Value) -> Value:
    """erfc for x ≥ ½."""
    x = b.minimum(x, _VANISHES[x.element])
    square = x * x
    lost = b.fma(x, x, -square)
    falls = exp(b, -square)
    return b.muladd(falls, -lost, falls) * horner(b, (x - 3.0) / (x + 3.0), ERFC[x.element])


def erf(b: VectorBuilder, x: Value) -> Value:
    """erf x."""
    with b.flagged():
        size = b.intrinsic("fabs", x)
        left = _left(b, size) if x.element == FLOAT else _tail(b, b.maximum(size, 0.5))
        return b.where(size < 1.0, _near(b, x), b.intrinsic("copysign", 1.0 - left, x))


def _left(b: VectorBuilder, x: Value) -> Value:
    """erfc for x ≥ 1 with small absolute error."""
    x = b.minimum(x, 4.0)
    return exp2_normal(b, x * horner(b, x, LOG_ERFC[x.element]))


def erfc(b: VectorBuilder, x: Value) -> Value:
    """1 − erf x, with small relative error where that is tiny."""
    with b.flagged():
        size = b.intrinsic("fabs", x)
        tail = _tail(b, b.maximum(size, 0.5))
        return b.where(size < 0.5, 1.0 - _near(b, x), b.where(x < 0, 2.0 - tail, tail))


__all__ = ["erf", "erfc"]
