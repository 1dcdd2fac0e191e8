"""Coefficients, lowest first, and the function and interval that each polynomial stands for.

``tests/compile/codegen/test_polynomials.py`` fits them again and holds the stated errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir

from .values import DOUBLE, FLOAT, Value
from .vector import VectorBuilder

Table = Mapping[ir.Type, Sequence[float]]

# (eʳ − 1 − r)/r² for |r| ≤ 0.3466; the error times |r| is below 1.5e-8 and 2e-17.
EXP: Table = {
    FLOAT: (0.5, 0.16666540503501892, 0.04166647791862488, 0.008366820402443409, 0.0013933691661804914),
    DOUBLE: (
        0.5000000000000006, 0.16666666666666677, 0.04166666666657364, 0.008333333333321452, 0.001388888893237037,
        0.00019841269886522662, 2.480150445754565e-05, 2.755724385122361e-06, 2.7626321630943663e-07,
        2.510915066389376e-08,
    ),
}  # fmt: skip

# float32: (ln(1 + f) − f + f²/2)/f³ for −0.293 ≤ f ≤ 0.4143; the error times f² is below 1e-9.
# float64: (ln((1 + s)/(1 − s))/s − 2)/s² as a polynomial of s² ≤ 0.02945; the error times s² is below 3e-18.
LOG: Table = {
    FLOAT: (
        0.3333331048488617, -0.25, 0.20002228021621704, -0.1666852980852127, 0.14218074083328247,
        -0.12396300584077835, 0.11888913810253143, -0.11726921796798706, 0.06805545091629028,
    ),
    DOUBLE: (
        0.6666666666666736, 0.39999999999405034, 0.2857142874423165, 0.22222198403083, 0.18183572504150583,
        0.1531385313789698, 0.14797840067142343,
    ),
}  # fmt: skip

# (sin(x)/x − 1)/x² as a polynomial of x² ≤ 0.6175; the error times x² is below 4e-9 and 4e-18.
SIN: Table = {
    FLOAT: (-0.16666655242443085, 0.008332191035151482, -0.0001951859740074724),
    DOUBLE: (
        -0.1666666666666663, 0.00833333333332196, -0.00019841269829504662, 2.755731359989538e-06,
        -2.5050745130519024e-08, 1.589610345668541e-10,
    ),
}  # fmt: skip

# (cos(x) − 1 + x²/2)/x⁴ as a polynomial of x² ≤ 0.6175; the error times x⁴ is below 2e-10 and 1e-19.
COS: Table = {
    FLOAT: (0.04166664555668831, -0.0013887312961742282, 2.443295670673251e-05),
    DOUBLE: (
        0.041666666666666595, -0.0013888888888873446, 2.4801587289103273e-05, -2.7557314252280614e-07,
        2.087571065372297e-09, -1.1359034621562258e-11,
    ),
}  # fmt: skip

# erf(x)/x − 1 as a polynomial of x² − 0.625 for x ≤ 1.15625 (float32), of x² − 0.5 for x ≤ 1 (float64); the error is
# below 1e-8 and 2e-18.
ERF: Table = {
    FLOAT: (
        -0.06845937669277191, -0.2620503008365631, 0.0728689506649971, -0.016627034172415733, 0.003148450283333659,
        -0.0005119896377436817, 6.857125117676333e-05,
    ),
    DOUBLE: (
        -0.03453126133013269, -0.2810721780454342, 0.07940998675593493, -0.018283884489154075, 0.0034802744966625438,
        -0.0005611894220946136, 7.829649529606187e-05, -9.614808857877864e-06, 1.0536446790034526e-06,
        -1.0420307245252739e-07, 9.388500067703047e-09, -7.806962686033077e-10, 5.852305465595308e-11,
    ),
}  # fmt: skip

# erfc(x) e^(x²) for 0.5 ≤ x as a polynomial of (x − 3)/(x + 3); the relative error is below 9e-9 (x ≤ 10.1) and 5e-17
# (x ≤ 27.3), where erfc becomes 0.
ERFC: Table = {
    FLOAT: (
        0.17900115251541138, -0.32623356580734253, 0.24560366570949554, -0.1501154899597168, 0.07166825979948044,
        -0.024398507550358772, 0.004252526443451643, 0.0007355163106694818, -0.0005453552003018558,
    ),
    DOUBLE: (
        0.17900115118138996, -0.3262335600430371, 0.24560380171233, -0.15011593650079155, 0.07166583719802437,
        -0.024392499318156496, 0.004269136331674562, 0.0007077464303597515, -0.0005970619324345826,
        4.5255376875793925e-05, 6.405642329379796e-05, -1.2860927849134456e-05, -7.97745772165145e-06,
        2.1214854649513456e-06, 1.2503125646699435e-06, -2.971066717286277e-07, -2.3016286042722583e-07,
        3.2636258699327294e-08, 4.121836185249469e-08, -2.045478251265052e-09, -4.814946666934264e-09,
    ),
}  # fmt: skip

# The fourth root of erfc(x) for 1.15625 ≤ x ≤ 4 as a polynomial of x − 1.25; the error that it makes in erf is below
# 1e-8.
ERFC_ROOT: Table = {
    FLOAT: (
        0.5269427299499512, -0.4041283428668976, 0.0402519553899765, 0.04402339458465576, -0.00912232231348753,
        -0.003919328097254038, 0.001703950110822916, -0.00018762971740216017,
    ),
}  # fmt: skip


def horner(b: VectorBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial at ``x``, one multiply-add a coefficient."""
    value = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = b.muladd(value, x, c)
    return value


def by_pairs(b: VectorBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial at ``x``, where pairs of terms are put together by powers of x².

    One multiply-add a coefficient, as in :func:`horner`, but about half as many one after the other. The last is
    Horner's, so that the result is as exact as by :func:`horner` where terms fall and do not cancel.
    """
    square = x * x
    lowest, *others = coefficients
    pairs = [b.muladd(x, odd, even) for even, odd in zip(others[::2], others[1::2], strict=False)]
    value = x.like(others[-1]) if len(others) % 2 else pairs.pop()
    for pair in reversed(pairs):
        value = b.muladd(value, square, pair)
    return b.muladd(value, x, lowest)


__all__ = ["COS", "ERF", "ERFC", "ERFC_ROOT", "EXP", "LOG", "SIN", "by_pairs", "horner"]
