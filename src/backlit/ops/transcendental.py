"""Exponentials, logarithms, roots, trigonometric and hyperbolic functions, erf, absolute value."""

from __future__ import annotations

import math

from .elementwise import Elementwise, unary

_LN2, _LN10, _TWO_OVER_SQRT_PI = math.log(2.0), math.log(10.0), 2.0 / math.sqrt(math.pi)


class Abs(Elementwise):
    """Absolute value; its slope at 0 is taken as 0."""

    formula = "y = |x|"
    gate = "passes with the sign of x"
    domain = "kink at 0, where the slope 0 is used"
    floats = False
    avoid = (0.0,)

    def value(s, x):
        return s.abs(x)

    def slope_x(s, x):
        return s.sign(x)


class Sign(Elementwise):
    """−1, 0 or 1; NaN stays NaN."""

    formula = "y = sign x"
    gate = "blocks: a step function has slope 0"
    floats = False
    avoid = (0.0,)

    def value(s, x):
        return s.sign(x)

    def pull_x(s, g):
        return g * 0.0


class Exp(Elementwise):
    """e to the power of x."""

    formula = "y = eˣ"
    gate = "scales by its own output"

    def value(s, x):
        return s.exp(x)

    def slope_x(s, out):
        return out


class Expm1(Elementwise):
    """``exp(x) - 1``, accurate for small x."""

    formula = "y = eˣ − 1"

    def value(s, x):
        return s.expm1(x)

    def slope_x(s, out):
        return out + 1.0


class Log(Elementwise):
    """Natural logarithm."""

    formula = "y = ln x"
    domain = "x > 0; −∞ with an infinite slope at 0, NaN below"
    interval = (0.2, 3.0)

    def value(s, x):
        return s.log(x)

    def slope_x(s, x):
        return 1.0 / x


class Log1p(Elementwise):
    """``log(1 + x)``, accurate for small x."""

    formula = "y = ln(1 + x)"
    domain = "x > −1"
    interval = (-0.8, 3.0)

    def value(s, x):
        return s.log1p(x)

    def slope_x(s, x):
        return 1.0 / (x + 1.0)


class Log2(Elementwise):
    """Logarithm to base 2."""

    formula = "y = log₂ x"
    domain = "x > 0"
    interval = (0.2, 3.0)

    def value(s, x):
        return s.log2(x)

    def slope_x(s, x):
        return 1.0 / (x * _LN2)


class Log10(Elementwise):
    """Logarithm to base 10."""

    formula = "y = log₁₀ x"
    domain = "x > 0"
    interval = (0.2, 3.0)

    def value(s, x):
        return s.log10(x)

    def slope_x(s, x):
        return 1.0 / (x * _LN10)


class Sqrt(Elementwise):
    """Square root."""

    formula = "y = √x"
    domain = "x ≥ 0; the slope at 0 is infinite"
    interval = (0.2, 3.0)

    def value(s, x):
        return s.sqrt(x)

    def slope_x(s, out):
        return 0.5 / out


class Rsqrt(Elementwise):
    """Reciprocal of the square root."""

    formula = "y = 1/√x"
    domain = "x > 0"
    interval = (0.2, 3.0)

    def value(s, x):
        return 1.0 / s.sqrt(x)

    def slope_x(s, out):
        return -0.5 * out * out * out


class Square(Elementwise):
    """``x * x``."""

    formula = "y = x²"
    gate = "scales by 2x"
    floats = False

    def value(s, x):
        return x * x

    def slope_x(s, x):
        return x * 2.0


class Reciprocal(Elementwise):
    """``1 / x``."""

    formula = "y = 1/x"
    gate = "scales by −1/x²"
    domain = "x ≠ 0"
    interval = (0.3, 3.0)

    def value(s, x):
        return 1.0 / x

    def slope_x(s, out):
        return -out * out


class Sin(Elementwise):
    """Sine of an angle in radians."""

    formula = "y = sin x"

    def value(s, x):
        return s.sin(x)

    def slope_x(s, x):
        return s.cos(x)


class Cos(Elementwise):
    """Cosine of an angle in radians."""

    formula = "y = cos x"

    def value(s, x):
        return s.cos(x)

    def slope_x(s, x):
        return -s.sin(x)


class Tan(Elementwise):
    """Tangent of an angle in radians."""

    formula = "y = tan x"
    domain = "x ≠ π/2 + kπ"
    interval = (-1.2, 1.2)

    def value(s, x):
        return s.tan(x)

    def slope_x(s, out):
        return out * out + 1.0


class Asin(Elementwise):
    """Inverse sine, in radians."""

    formula = "y = arcsin x"
    domain = "−1 ≤ x ≤ 1; infinite slope at the ends"
    interval = (-0.9, 0.9)

    def value(s, x):
        return s.asin(x)

    def slope_x(s, x):
        return 1.0 / s.sqrt(1.0 - x * x)


class Acos(Elementwise):
    """Inverse cosine, in radians."""

    formula = "y = arccos x"
    domain = "−1 ≤ x ≤ 1; infinite slope at the ends"
    interval = (-0.9, 0.9)

    def value(s, x):
        return s.acos(x)

    def slope_x(s, x):
        return -1.0 / s.sqrt(1.0 - x * x)


class Atan(Elementwise):
    """Inverse tangent, in radians."""

    formula = "y = arctan x"

    def value(s, x):
        return s.atan(x)

    def slope_x(s, x):
        return 1.0 / (x * x + 1.0)


class Sinh(Elementwise):
    """Hyperbolic sine."""

    formula = "y = sinh x"

    def value(s, x):
        return s.sinh(x)

    def slope_x(s, x):
        return s.cosh(x)


class Cosh(Elementwise):
    """Hyperbolic cosine."""

    formula = "y = cosh x"

    def value(s, x):
        return s.cosh(x)

    def slope_x(s, x):
        return s.sinh(x)


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    formula = "y = tanh x"
    gate = "scales by 1 − y², which vanishes when saturated"

    def value(s, x):
        return s.tanh(x)

    def slope_x(s, out):
        return 1.0 - out * out


class Asinh(Elementwise):
    """Inverse hyperbolic sine."""

    formula = "y = arsinh x"

    def value(s, x):
        return s.asinh(x)

    def slope_x(s, x):
        return 1.0 / s.sqrt(x * x + 1.0)


class Acosh(Elementwise):
    """Inverse hyperbolic cosine."""

    formula = "y = arcosh x"
    domain = "x ≥ 1; infinite slope at 1"
    interval = (1.3, 4.0)

    def value(s, x):
        return s.acosh(x)

    def slope_x(s, x):
        return 1.0 / s.sqrt(x * x - 1.0)


class Atanh(Elementwise):
    """Inverse hyperbolic tangent."""

    formula = "y = artanh x"
    domain = "−1 < x < 1"
    interval = (-0.8, 0.8)

    def value(s, x):
        return s.atanh(x)

    def slope_x(s, x):
        return 1.0 / (1.0 - x * x)


class Erf(Elementwise):
    """The error function."""

    formula = "y = erf x = 2/√π ∫₀ˣ e^(−t²) dt"

    def value(s, x):
        return s.erf(x)

    def slope_x(s, x):
        return _TWO_OVER_SQRT_PI * s.exp(-(x * x))


abs = unary(Abs)
sign = unary(Sign)
exp = unary(Exp)
expm1 = unary(Expm1)
log = unary(Log)
log1p = unary(Log1p)
log2 = unary(Log2)
log10 = unary(Log10)
sqrt = unary(Sqrt)
rsqrt = unary(Rsqrt)
square = unary(Square)
reciprocal = unary(Reciprocal)
sin = unary(Sin)
cos = unary(Cos)
tan = unary(Tan)
asin = unary(Asin)
acos = unary(Acos)
atan = unary(Atan)
sinh = unary(Sinh)
cosh = unary(Cosh)
tanh = unary(Tanh)
asinh = unary(Asinh)
acosh = unary(Acosh)
atanh = unary(Atanh)
erf = unary(Erf)
