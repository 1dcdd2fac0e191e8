"""Logarithms of vectors.

x = 2ᵉ (1 + f) with √½ ≤ 1 + f < √2, and ln(1 + f) is a polynomial of f (float32) or of f/(2 + f) (float64).
"""

from __future__ import annotations

import math

from .exponential import exp
from .polynomials import LOG, by_pairs
from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder

_ROOT_HALF_BITS = {FLOAT: 0x3F3504F3, DOUBLE: 0x3FE6A09E667F3BCD}
_MANTISSA = {FLOAT: 23, DOUBLE: 52}
_SMALLEST_NORMAL = {FLOAT: 2.0**-126, DOUBLE: 2.0**-1022}
# ln 2 and log10 2 in two pieces, the first with so few bits that its product with any exponent is exact.
_LN2 = {FLOAT: (0.693145751953125, 1.428606765330187e-06), DOUBLE: (0.6931471803691238, 1.9082149292705877e-10)}
_LOG10_2 = {FLOAT: (0.301025390625, 4.605039066518657e-06), DOUBLE: (0.30102999566361177, 3.694239077158931e-13)}
# log2(e) and log10(e) in two pieces, the first rounded to the type.
_LOG2_E = {FLOAT: (1.4426950216293335, 1.925963033500011e-08), DOUBLE: (1.4426950408889634, 2.0355273740931033e-17)}
_LOG10_E = {FLOAT: (0.4342944920063019, -1.0103049952192578e-08), DOUBLE: (0.4342944819032518, 1.098319650216765e-17)}


def _split(b: VectorBuilder, x: Value) -> tuple[Value, Value]:
    """(f, e) as values, e an integer, for positive normal x."""
    bits, mantissa = b.bits(x), _MANTISSA[x.element]
    exponent = (bits - _ROOT_HALF_BITS[x.element]) >> mantissa
    return b.from_bits(bits - (exponent << mantissa)) - 1.0, exponent


def _split_any(b: VectorBuilder, x: Value) -> tuple[Value, Value]:
    """Like :func:`_split`, also for denormal x; e is a floating value."""
    lift = _MANTISSA[x.element] + 1
    denormal = x < _SMALLEST_NORMAL[x.element]
    f, exponent = _split(b, b.where(denormal, x * 2.0**lift, x))
    e = b.convert(exponent, x.element)
    return f, b.where(denormal, e - float(lift), e)


def _terms(b: VectorBuilder, f: Value) -> tuple[Value, Value]:
    """ln(1 + f) as two summands ``(large, small)``."""
    square = f * f
    if f.element == FLOAT:
        tail = f * square * by_pairs(b, f, LOG[FLOAT])
        return f, b.muladd(square, -0.5, tail)
    s = f / (f + 2.0)
    z = s * s
    half = square * 0.5
    return f, b.muladd(s, half + z * by_pairs(b, z, LOG[DOUBLE]), -half)


def _natural(b: VectorBuilder, f: Value, e: Value) -> Value:
    high, low = _LN2[f.element]
    large, small = _terms(b, f)
    small = b.muladd(e, low, small)
    if f.element == FLOAT:
        return b.muladd(e, high, large + small)
    return b.muladd(e, high, large) + small


def _defined(b: VectorBuilder, x: Value, result: Value, zero: float = 0.0) -> Value:
    """Put in what the formula misses: infinity and NaN pass, ``zero`` gives −∞, and NaN below."""
    result = b.where(x < math.inf, result, x)
    return b.where(x > zero, result, b.where(x == zero, x.like(-math.inf), x.like(math.nan)))


def log(b: VectorBuilder, x: Value) -> Value:
    """ln x."""
    with b.flagged():
        return _defined(b, x, _natural(b, *_split_any(b, x)))


def log1p(b: VectorBuilder, x: Value) -> Value:
    """ln(1 + x) without cancellation: what the sum 1 + x loses is found exactly and added to f."""
    with b.flagged():
        total = x + 1.0
        back = total - 1.0
        lost = (1.0 - (total - back)) + (x - back)
        f, exponent = _split(b, total)
        one = b.bits(x.like(1.0))
        inverse = b.from_bits(one - (b.minimum(exponent, 100) << _MANTISSA[x.element]))  # beyond, nothing is lost
        value = _natural(b, b.muladd(lost, inverse, f), b.convert(exponent, x.element))
        return b.where(x == 0, x, _defined(b, x, value, -1.0))


def log2(b: VectorBuilder, x: Value) -> Value:
    """log₂ x, exact for powers of two."""
    with b.flagged():
        f, e = _split_any(b, x)
        large, small = _terms(b, f)
        high, low = _LOG2_E[x.element]
        p = large + small
        small = (large - p) + small
        return _defined(b, x, b.muladd(p, high, b.muladd(p, low, small * high)) + e)


def log10(b: VectorBuilder, x: Value) -> Value:
    """log₁₀ x."""
    with b.flagged():
        f, e = _split_any(b, x)
        large, small = _terms(b, f)
        high, low = _LOG10_E[x.element]
        p = large + small
        small = (large - p) + small
        two_high, two_low = _LOG10_2[x.element]
        rest = b.muladd(e, two_low, b.muladd(p, low, small * high))
        return _defined(b, x, b.muladd(e, two_high, b.muladd(p, high, rest)))


def softplus(b: VectorBuilder, x: Value) -> Value:
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|)), which cannot overflow."""
    return b.maximum(x, 0.0) + log1p(b, exp(b, -b.intrinsic("fabs", x)))


def logaddexp(b: VectorBuilder, x: Value, y: Value) -> Value:
    """ln(eˣ + eʸ); equal operands, also infinite ones, give x + ln 2."""
    apart = b.maximum(x, y) + log1p(b, exp(b, -b.intrinsic("fabs", x - y)))
    return b.where(x == y, x + math.log(2), apart)


__all__ = ["log", "log1p", "log2", "log10", "logaddexp", "softplus"]
