"""Nearly best polynomials in high precision: where the coefficients of the elementary functions come from.

Weighted least squares over Chebyshev points comes within a small factor of the smallest possible largest error and,
unlike an exchange of extrema, always converges, also where the weight vanishes inside the interval.
"""

from collections.abc import Callable, Sequence

import mpmath

Function = Callable[[mpmath.mpf], mpmath.mpf]


def fit(f: Function, low: float, high: float, degree: int, weight: Function, fixed: Sequence[float]) -> list:
    """Coefficients, lowest first, that make ``weight(x) (p(x) − f(x))`` small; the ``fixed`` ones are not changed."""
    low, high = mpmath.mpf(low), mpmath.mpf(high)
    points = [(low + high - (high - low) * mpmath.cos(mpmath.pi * (2 * i + 1) / 160)) / 2 for i in range(80)]
    rows, rest = [], []
    for x in points:
        w = weight(x)
        rows.append([w * x**k for k in range(len(fixed), degree + 1)])
        rest.append(w * (f(x) - sum(mpmath.mpf(c) * x**k for k, c in enumerate(fixed))))
    matrix, right = mpmath.matrix(rows), mpmath.matrix(rest)
    return list(fixed) + list(mpmath.lu_solve(matrix.T * matrix, matrix.T * right))


def rounded_fit(
    f: Function, low: float, high: float, degree: int, dtype: type, weight: Function = lambda x: 1
) -> list[float]:
    """Coefficients rounded to ``dtype`` one after the other, the later ones fitted again to make up for it."""
    fixed: list[float] = []
    with mpmath.workdps(80):
        while len(fixed) <= degree:
            best = fit(f, low, high, degree, weight, fixed)
            fixed.append(float(dtype(float(best[len(fixed)]))))
    return fixed


def largest_error(
    coefficients: Sequence[float], f: Function, low: float, high: float, weight: Function = lambda x: 1
) -> float:
    """The largest ``|weight(x) (p(x) − f(x))|`` over a dense grid."""
    with mpmath.workdps(80):
        grid = [mpmath.mpf(low) + (mpmath.mpf(high) - low) * i / 500 for i in range(501)]
        exact = [mpmath.mpf(c) for c in coefficients]
        return float(max(abs(weight(x) * (_polynomial(exact, x) - f(x))) for x in grid))


def _polynomial(coefficients: Sequence[mpmath.mpf], x: mpmath.mpf) -> mpmath.mpf:
    """By Horner's rule; the order of mpmath's ``polyval`` depends on its version."""
    value = mpmath.mpf(0)
    for c in reversed(coefficients):
        value = value * x + c
    return value


__all__ = ["fit", "largest_error", "rounded_fit"]
