"""The error function and its complement.

Near 0, erf is a polynomial; further out erfc(x) = e^(−x²) W((x − 3)/(x + 3)) with a polynomial W, and x² is taken to
twice the precision, so that the complement is right far into its tail. Where only 1 − erfc is asked for, in float32,
the complement is P(x)⁴ with a polynomial P: neither a division nor an exponential, and right to what is left of it
beside 1.
"""

from __future__ import annotations

from collections.abc import Callable

from .exponential import exp
from .polynomials import ERF, ERFC, ERFC_ROOT, by_pairs, horner
from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder

_NEAR = {FLOAT: 1.15625, DOUBLE: 1.0}  # up to where erf is the polynomial
_MIDDLE = {FLOAT: 0.625, DOUBLE: 0.5}  # of the squares there, from which the polynomial counts: its terms stay small
_VANISHES = {FLOAT: 10.1, DOUBLE: 27.3}  # erfc rounds to 0 from here


def _near(b: VectorBuilder, x: Value) -> Value:
    """erf for small |x|."""
    return b.muladd(x, horner(b, b.muladd(x, x, -_MIDDLE[x.element]), ERF[x.element]), x)


def _far(b: VectorBuilder, x: Value) -> Value:
    """erf for larger x, in float32: 1 from 4, where the complement has fallen below half a unit."""
    x = b.minimum(x, 4.0) - 1.25
    root = by_pairs(b, x, ERFC_ROOT[x.element])
    square = root * root
    return b.muladd(-square, square, 1.0)


def _tail(b: VectorBuilder, x: Value, polynomial: Callable[..., Value]) -> Value:
    """erfc for x ≥ ½; ``polynomial`` evaluates W."""
    x = b.minimum(x, _VANISHES[x.element])
    square = x * x
    lost = b.fma(x, x, -square)
    falls = exp(b, -square)
    t = (x - 3.0) / (x + 3.0)
    return b.muladd(falls, -lost, falls) * polynomial(b, t, ERFC[x.element])


def erf(b: VectorBuilder, x: Value) -> Value:
    """erf x."""
    with b.flagged():
        size = b.intrinsic("fabs", x)
        far = _far(b, size) if x.element == FLOAT else 1.0 - _tail(b, b.maximum(size, 0.5), by_pairs)
        return b.where(size < _NEAR[x.element], _near(b, x), b.intrinsic("copysign", far, x))


def erfc(b: VectorBuilder, x: Value) -> Value:
    """1 − erf x, with small relative error where that is tiny."""
    with b.flagged():
        size = b.intrinsic("fabs", x)
        tail = _tail(b, b.maximum(size, 0.5), horner)  # whose roundings count here
        return b.where(size < 0.5, 1.0 - _near(b, x), b.where(x < 0, 2.0 - tail, tail))


__all__ = ["erf", "erfc"]
