"""Exponentials of vectors: exp, exp2, expm1, and tanh and the sigmoid that are made of them.

x = n ln 2 + r with |r| ≤ ln 2 / 2; eʳ is a polynomial and 2ⁿ is made of exponent bits. Roundings are counted here, so
no floating-point flags are on: nothing may be reordered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .polynomials import EXP, by_pairs
from .values import DOUBLE, FLOAT, INT32, Value
from .vector import VectorBuilder


class _Format(NamedTuple):
    """What the reduction needs to know of a floating type."""

    mantissa: int
    bias: int
    magic: float  # adding it and a number leaves the integer next to their sum in the low bits
    ln2_high: float  # ln 2 in two pieces; the first times any exponent is exact
    ln2_low: float
    lowest: float  # eˣ is 0 below
    highest: float  # and infinite above
    saturated: float  # tanh(x) rounds to 1 from half of this


_FORMATS = {
    FLOAT: _Format(23, 127, 1.5 * 2**23, 0.693145751953125, 1.428606765330187e-06, -104.0, 89.0, 20.0),
    DOUBLE: _Format(52, 1023, 1.5 * 2**52, 0.6931471803691238, 1.9082149292705877e-10, -746.0, 710.0, 44.0),
}


def _clamped(b: VectorBuilder, x: Value, low: float, high: float) -> Value:
    return b.minimum(b.maximum(x, low), high)


def _nearest(b: VectorBuilder, x: Value, factor: float, bias: int) -> tuple[Value, Value]:
    """The integer n next to ``factor x`` as a floating value, and an integer whose low bits are n + ``bias``."""
    magic = _FORMATS[x.element].magic + bias
    shifted = b.muladd(x, factor, magic) if factor != 1 else x + magic
    return shifted - magic, b.bits(shifted)


def _reduced(b: VectorBuilder, x: Value, bias: int) -> tuple[Value, Value]:
    """r, and an integer whose low bits are n + ``bias``, with x = n ln 2 + r."""
    form = _FORMATS[x.element]
    whole, bits = _nearest(b, x, 1 / math.log(2), bias)
    r = b.muladd(whole, -form.ln2_high, x)
    return b.muladd(whole, -form.ln2_low, r), bits


def _power(b: VectorBuilder, bits: Value, element: object) -> Value:
    """2ⁿ where that is a normal number, by an integer whose low bits are n plus the bias of exponents."""
    return b.from_bits(bits << _FORMATS[element].mantissa)


def _scaled(b: VectorBuilder, e: Value, bits: Value) -> Value:
    """(1 + e) 2ⁿ for any n within twice the exponent's range, also where that is denormal or overflows.

    The low bits of ``bits`` are n plus twice the bias; half of n and the other half are applied one after the other.
    """
    form = _FORMATS[e.element]
    if b.target.vector_bytes == 64:  # one instruction there
        n = b.convert(bits - b.bits(e.like(form.magic + 2 * form.bias)), INT32)
        return Value(b, b.call("llvm.ldexp", e.type, [(e + 1.0).ir, n.ir], [e.type, n.type]))
    half = Value(b, b.ir.lshr(bits.ir, bits.like(1).ir))
    large = _power(b, half, e.element)
    return b.muladd(e, large, large) * _power(b, bits - half, e.element)


def _expm1_reduced(b: VectorBuilder, r: Value) -> Value:
    """eʳ − 1 for |r| ≤ ln 2 / 2, with small relative error down to 0."""
    return b.muladd(r * r, by_pairs(b, r, EXP[r.element]), r)


def exp(b: VectorBuilder, x: Value) -> Value:
    """eˣ."""
    with b.flagged():
        form = _FORMATS[x.element]
        r, bits = _reduced(b, _clamped(b, x, form.lowest, form.highest), 2 * form.bias)
        return _scaled(b, _expm1_reduced(b, r), bits)


def exp2(b: VectorBuilder, x: Value) -> Value:
    """2ˣ."""
    with b.flagged():
        form = _FORMATS[x.element]
        x = _clamped(b, x, form.lowest / math.log(2), form.highest / math.log(2))
        whole, bits = _nearest(b, x, 1, 2 * form.bias)
        return _scaled(b, _expm1_reduced(b, (x - whole) * math.log(2)), bits)


def expm1(b: VectorBuilder, x: Value) -> Value:
    """eˣ − 1 without cancellation: 2ⁿ (eʳ − 1) + (2ⁿ − 1), all halved so that the largest n does not overflow."""
    with b.flagged():
        form = _FORMATS[x.element]
        r, bits = _reduced(b, _clamped(b, x, -2.0 * form.saturated, form.highest), form.bias - 1)
        half = _power(b, bits, x.element)
        value = b.muladd(half, _expm1_reduced(b, r), half - 0.5) * 2.0
        return b.where(x == 0, x, value)


def tanh(b: VectorBuilder, x: Value) -> Value:
    """tanh x = (e²ˣ − 1) / (e²ˣ + 1), of |x|, with the sign put back."""
    with b.flagged():
        form = _FORMATS[x.element]
        twice = b.minimum(b.intrinsic("fabs", x) * 2.0, form.saturated)
        r, bits = _reduced(b, twice, form.bias)
        power = _power(b, bits, x.element)
        t = b.muladd(power, _expm1_reduced(b, r), power - 1.0)
        return b.intrinsic("copysign", t / (t + 2.0), x)


def sigmoid(b: VectorBuilder, x: Value) -> Value:
    """1/(1 + e⁻ˣ) through e^(−|x|), which cannot overflow."""
    with b.flagged():
        e = exp(b, -b.intrinsic("fabs", x))
        return b.where(x >= 0, x.like(1.0), e) / (e + 1.0)


__all__ = ["exp", "exp2", "expm1", "sigmoid", "tanh"]
