"""Sine and cosine of vectors: x = n π/2 + r with |r| ≤ π/4, then a polynomial of r picked by n modulo 4."""

from __future__ import annotations

import math

from .libm import per_lane
from .polynomials import COS, SIN, horner
from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder

# π/2 in three pieces, each rounded to the type.
_HALF_PI = {
    FLOAT: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    DOUBLE: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
_MAGIC = {FLOAT: 1.5 * 2**23, DOUBLE: 1.5 * 2**52}
_REDUCIBLE = {FLOAT: 1e5, DOUBLE: 1e9}  # beyond, three pieces of π are too few, and the C library is asked


def _quarter_turns(b: VectorBuilder, x: Value) -> tuple[Value, Value]:
    """(r, n): the rest, and an integer whose low two bits are n's."""
    shifted = b.muladd(x, 2 / math.pi, _MAGIC[x.element])
    n = shifted - _MAGIC[x.element]
    for piece in _HALF_PI[x.element]:
        x = b.fma(n, -piece, x)
    return x, b.bits(shifted)


def _sine(b: VectorBuilder, x: Value, turn: int) -> Value:
    """sin(x + turn π/2)."""
    r, n = _quarter_turns(b, x)
    n = n + turn
    square = r * r
    sine = b.muladd(r * square, horner(b, square, SIN[x.element]), r)
    cosine = b.muladd(square * square, horner(b, square, COS[x.element]), b.muladd(square, -0.5, 1.0))
    value = b.where((n & 1) == 0, sine, cosine)
    return b.where((n & 2) == 0, value, -value)


def _with_large(b: VectorBuilder, x: Value, name: str, turn: int) -> Value:
    """The polynomial, and the C library's function where any lane is too large for it (or infinite, or NaN)."""
    with b.flagged():
        near = b.intrinsic("fabs", x) <= _REDUCIBLE[x.element]
        value = _sine(b, b.where(near, x, 0.0), turn)
        return b.patched(value, ~near, lambda: per_lane(b, name, x))


def sin(b: VectorBuilder, x: Value) -> Value:
    """sin x."""
    return b.where(x == 0, x, _with_large(b, x, "sin", 0))


def cos(b: VectorBuilder, x: Value) -> Value:
    """cos x."""
    return _with_large(b, x, "cos", 1)


__all__ = ["cos", "sin"]
