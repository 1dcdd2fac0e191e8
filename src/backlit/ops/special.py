"""Functions beyond the schoolbook's: error functions, log-odds, lengths, sums of logarithms, repairs of NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activations import clamp
from .definition import Sample, Tensor, apply, operation
from .elementwise import Elementwise, binary, match, operand, to_float, unary
from .rounding import trunc

_LN2, _TWO_OVER_SQRT_PI = math.log(2.0), 2.0 / math.sqrt(math.pi)
_NEAR_ZERO = (
    1e-4  # below, the slope of sinc is taken from its series, as the difference of two ones has few digits left
)


class Exp2(Elementwise):
    """2 to the power of x."""

    formula = "y = 2ˣ"
    gate = "scales by its own output times ln 2"

    def value(s, x):
        return s.exp2(x)

    def slope_x(s, out):
        return out * _LN2


class Erfc(Elementwise):
    """``1 - erf(x)``, accurate where erf is close to 1."""

    formula = "y = 1 − erf x"

    def value(s, x):
        return s.erfc(x)

    def slope_x(s, x):
        return -_TWO_OVER_SQRT_PI * s.exp(-(x * x))


class Erfinv(Elementwise):
    """The inverse of the error function."""

    formula = "y with erf y = x"
    domain = "−1 < x < 1; ±∞ with an infinite slope at the ends"
    interval = (-0.9, 0.9)

    def value(s, x):
        return s.erfinv(x)

    def slope_x(s, x):  # not from the output, which may be written to in place afterwards
        return s.exp(s.square(s.erfinv(x))) / _TWO_OVER_SQRT_PI


class Sinc(Elementwise):
    """The sine of πx divided by πx; 1 at 0."""

    formula = "y = sin(πx)/(πx)"

    def value(s, x):
        return s.sinc(x)

    def slope_x(s, x):  # not from the output, which may be written to in place afterwards
        near = s.abs(x) < _NEAR_ZERO
        away = s.where(near, 1.0, x)
        return s.where(near, x * (-(math.pi**2) / 3.0), (s.cos(away * math.pi) - s.sinc(away)) / away)


class Logit(Elementwise):
    """The logarithm of the odds: the inverse of the sigmoid."""

    formula = "y = ln(x/(1 − x))"
    gate = "scales by 1/(x (1 − x))"
    domain = "0 < x < 1; ±∞ at the ends, NaN outside"
    interval = (0.1, 0.9)

    def value(s, x):
        return s.log(x / (1.0 - x))

    def slope_x(s, x):
        return 1.0 / (x * (1.0 - x))


class Hypot(Elementwise):
    """The length of the vector (x, y), without overflow on the way; its slope at the origin is taken as 0."""

    formula = "z = √(x² + y²)"
    gate = "scales by x/z and by y/z"
    domain = "kink at the origin, where the slope 0 is used"
    interval = (0.3, 2.0)

    def value(s, x, y):
        return s.hypot(x, y)

    def slope_x(s, x, out):
        return x / s.where(out == 0, 1.0, out)

    def slope_y(s, y, out):
        return y / s.where(out == 0, 1.0, out)


class LogAddExp(Elementwise):
    """The logarithm of a sum of exponentials, without overflow on the way."""

    name = "logaddexp"
    formula = "z = ln(eˣ + eʸ)"
    gate = "shares the upstream gradient in the proportion of eˣ to eʸ"

    def value(s, x, y):
        return s.logaddexp(x, y)

    def slope_x(s, x, y):
        return 1.0 / (s.exp(y - x) + 1.0)

    def slope_y(s, x, y):
        return 1.0 / (s.exp(x - y) + 1.0)


class XLogY(Elementwise):
    """``x * log(y)``, and 0 where x is 0, whatever y."""

    name = "xlogy"
    formula = "z = x ln y, and 0 where x = 0"
    gate = "scales by ln y and by x/y"
    domain = "y > 0, or x = 0"
    interval = (0.3, 2.0)

    def value(s, x, y):
        return s.where((x == 0) & (y == y), 0.0, x * s.log(y))

    def slope_x(s, x, y):
        return s.where((x == 0) & (y <= 0), 0.0, s.log(y))

    def slope_y(s, x, y):
        return x / y


class NanToNum(Elementwise):
    """x with NaN and the infinities replaced by numbers."""

    name = "nan_to_num"
    formula = "y = x where finite, else a number"
    gate = "passes where x is finite, blocks elsewhere"
    floats = False

    def value(s, x, *, nan, posinf, neginf):
        return s.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)

    def pull_x(s, g, x, *, nan, posinf, neginf):
        return s.where(x - x == 0, g, 0.0)


exp2 = unary(Exp2)
erfc = unary(Erfc)
erfinv = unary(Erfinv)
sinc = unary(Sinc)
hypot = binary(Hypot)
logaddexp = binary(LogAddExp)
xlogy = binary(XLogY)
_logit = unary(Logit)


@operation(Logit)
def logit(x: Any, eps: float | None = None) -> Tensor:
    """The logarithm of the odds, ``log(x / (1 - x))``; with ``eps``, x is first limited to [eps, 1 − eps]."""
    return _logit(x if eps is None else clamp(to_float(x), eps, 1.0 - eps))


@operation(
    NanToNum,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4))),
        Sample(rng.normal(size=()), 1.0, posinf=2.0),
        Sample(rng.normal(size=(0, 2)), neginf=-3.0),
    ],
)
def nan_to_num(x: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """``x`` with ``nan`` (0) for NaN, and ``posinf`` and ``neginf`` (the dtype's largest numbers) for infinities."""
    return apply(NanToNum, (operand(x),), {"nan": nan or 0.0, "posinf": posinf, "neginf": neginf})


@operation(
    formula="y = x − trunc x",
    gate="passes: the whole part has slope 0",
    domain="jumps at whole numbers",
    samples=lambda rng: [Sample(rng.uniform(0.1, 0.9, size=(3, 4)) + 2.0), Sample(-rng.uniform(0.1, 0.9, size=()))],
)
def frac(x: Any) -> Tensor:
    """The fractional part of x, with the sign of x."""
    x = operand(x)
    return x - trunc(x)


@operation(
    formula="y = π x / 180",
    gate="scales by a constant",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=()))],
)
def deg2rad(x: Any) -> Tensor:
    """Degrees as radians."""
    return to_float(x) * (math.pi / 180.0)


@operation(
    formula="y = 180 x / π",
    gate="scales by a constant",
    samples=lambda rng: [Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=()))],
)
def rad2deg(x: Any) -> Tensor:
    """Radians as degrees."""
    return to_float(x) * (180.0 / math.pi)


def _three(rng: np.random.Generator) -> list[Sample]:
    def draw(*shape: int) -> Any:
        return rng.uniform(0.5, 2.0, size=shape)

    return [
        Sample(draw(3, 4), draw(3, 4), draw(3, 4)),
        Sample(draw(3, 4), draw(4), draw(3, 1), value=-0.5),
        Sample(draw(), draw(), draw(), value=2),
        Sample(draw(0, 2), draw(0, 2), draw(0, 2)),
    ]


@operation(formula="y = x + v a b", gate="distributes to x; swaps a and b, scaled by v", samples=_three)
def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """``x + value * tensor1 * tensor2``, broadcast."""
    product = match(tensor1, tensor2)
    scaled = product[0] * product[1]
    return operand(x) + (scaled if value == 1 else scaled * value)


@operation(
    formula="y = x + v a / b",
    gate="distributes to x; scales by v/b and by −v a/b²",
    domain="b ≠ 0",
    samples=_three,
)
def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """``x + value * tensor1 / tensor2``, broadcast; the operands are floating."""
    quotient = to_float(tensor1) / operand(tensor2)
    return operand(x) + (quotient if value == 1 else quotient * value)
