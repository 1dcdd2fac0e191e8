"""The coefficients are near the best there are: fitted again, and held to the errors that their comments state."""

import mpmath
import numpy as np
import pytest
from minimax import largest_error, rounded_fit

from backlit.compile.codegen import polynomials
from backlit.compile.codegen.values import DOUBLE, FLOAT
from backlit.ops import error_function

TINY = mpmath.mpf(10) ** -20
JOIN = 1.15625  # where the two polynomials of erf meet in float32


def exp_rest(x):
    return mpmath.mpf(1) / 2 + x / 6 if abs(x) < TINY else (mpmath.e**x - 1 - x) / x**2


def log_rest(f):
    return mpmath.mpf(1) / 3 - f / 4 if abs(f) < TINY else (mpmath.log1p(f) - f + f * f / 2) / f**3


def atanh_rest(z):
    s = mpmath.sqrt(z)
    return mpmath.mpf(2) / 3 if z < TINY else (2 * mpmath.atanh(s) / s - 2) / z


def sin_rest(z):
    return -mpmath.mpf(1) / 6 if z < TINY else (mpmath.sin(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z


def cos_rest(z):
    return mpmath.mpf(1) / 24 if z < TINY else (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2


def erf_rest(z):
    return 2 / mpmath.sqrt(mpmath.pi) - 1 if z < TINY else mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1


def erfc_scaled(t):
    x = 3 * (1 + t) / (1 - t)
    return mpmath.erfc(x) * mpmath.exp(x * x)


def erfc_root(t):
    return mpmath.root(mpmath.erfc(t + mpmath.mpf(1.25)), 4)


def falls_by_root(t):
    """What an error of ``erfc_root`` does to erf."""
    return 4 * erfc_root(t) ** 3


def erf_rest_around(middle):
    return lambda z: erf_rest(z + mpmath.mpf(middle))


def bend(z):
    x = mpmath.sqrt(z)
    return 2 / mpmath.sqrt(mpmath.pi) - 1 if z < TINY else mpmath.atanh(mpmath.erf(x)) / x - 1


def falls_by_bend(z):
    """What an error of ``bend`` does to erf, relative to it."""
    x = mpmath.sqrt(z)
    return mpmath.sqrt(mpmath.pi) / 2 if z < TINY else x * (1 / mpmath.erf(x) - mpmath.erf(x))


def at(x):
    return (x - 3) / (x + 3)


CASES = [
    (polynomials.EXP, FLOAT, exp_rest, -0.3466, 0.3466, abs, 1.5e-8),
    (polynomials.EXP, DOUBLE, exp_rest, -0.3466, 0.3466, abs, 2e-17),
    (polynomials.LOG, FLOAT, log_rest, -0.293, 0.4143, lambda f: f * f, 1e-9),
    (polynomials.LOG, DOUBLE, atanh_rest, 0.0, 0.02945, lambda z: z, 3e-18),
    (polynomials.SIN, FLOAT, sin_rest, 0.0, 0.6175, lambda z: z, 4e-9),
    (polynomials.SIN, DOUBLE, sin_rest, 0.0, 0.6175, lambda z: z, 4e-18),
    (polynomials.COS, FLOAT, cos_rest, 0.0, 0.6175, lambda z: z * z, 2e-10),
    (polynomials.COS, DOUBLE, cos_rest, 0.0, 0.6175, lambda z: z * z, 1e-19),
    (polynomials.ERF, FLOAT, erf_rest_around(0.625), -0.625, JOIN**2 - 0.625, lambda z: 1, 1e-8),
    (polynomials.ERF, DOUBLE, erf_rest_around(0.5), -0.5, 0.5, lambda z: 1, 2e-18),
    (polynomials.ERFC, FLOAT, erfc_scaled, at(0.5), at(10.1), lambda t: 1 / erfc_scaled(t), 9e-9),
    (polynomials.ERFC_ROOT, FLOAT, erfc_root, JOIN - 1.25, 2.75, falls_by_root, 1e-8),
    ({FLOAT: error_function.BEND}, FLOAT, bend, 0.0, 15.4, falls_by_bend, 1.3e-8),
    (polynomials.ERFC, DOUBLE, erfc_scaled, at(0.5), at(27.3), lambda t: 1 / erfc_scaled(t), 5e-17),
]


@pytest.mark.parametrize(("table", "element", "f", "low", "high", "weight", "stated"), CASES)
def test_stated_error_holds(table, element, f, low, high, weight, stated):
    assert largest_error(table[element], f, low, high, weight) < stated


REFITTED = [
    (polynomials.EXP, exp_rest, -0.3466, 0.3466, abs),
    (polynomials.ERF, erf_rest_around(0.625), -0.625, JOIN**2 - 0.625, lambda z: 1),
    (polynomials.ERFC_ROOT, erfc_root, JOIN - 1.25, 2.75, falls_by_root),
]


@pytest.mark.parametrize(("table", "f", "low", "high", "weight"), REFITTED)
def test_coefficients_are_what_the_fit_gives(table, f, low, high, weight):
    found = rounded_fit(f, low, high, len(table[FLOAT]) - 1, np.float32, weight)
    assert tuple(found) == table[FLOAT]
