"""Arithmetic of two operands, powers, remainders, selection, and the gates lectures name: add, multiply, max."""

from __future__ import annotations

from typing import Any

from ..errors import OperationError
from ..source import describe, mark
from .definition import Sample, Tensor, apply, operation
from .elementwise import Elementwise, binary, match, operand, unary


class Add(Elementwise):
    """Sum of two tensors: ``x + y``, broadcast."""

    formula = "z = x + y"
    gate = "distributes: both inputs receive the upstream gradient unchanged"
    floats = False

    def value(s, x, y):
        return x + y

    def pull_x(s, g):
        return g

    def pull_y(s, g):
        return g


class Sub(Elementwise):
    """Difference of two tensors: ``x - y``, broadcast."""

    formula = "z = x - y"
    gate = "distributes, with the sign changed for the second input"
    floats = False

    def value(s, x, y):
        return x - y

    def pull_x(s, g):
        return g

    def pull_y(s, g):
        return -g


class Mul(Elementwise):
    """Product of two tensors, element by element: ``x * y``, broadcast."""

    formula = "z = x · y"
    gate = "swaps: each input receives the upstream gradient times the other input"
    floats = False
    takes_masks = True

    def value(s, x, y):
        return x * y

    def slope_x(s, y):
        return y

    def slope_y(s, x):
        return x


class GatedMul(Elementwise):
    """``g * slope`` with 0 · ∞ = 0: the product by which gradients pass a slope that can be infinite."""

    name = "gated"
    formula = "z = 0 where g = 0, else g · slope"
    gate = "swaps, and passes nothing where g is 0"

    def value(s, g, slope):
        return s.gated(g, slope)

    def pull_g(s, t, slope):
        return s.gated(t, slope)

    def pull_slope(s, t, g):
        return s.gated(g, t)


class Div(Elementwise):
    """True quotient: ``x / y``, broadcast; integers are divided as floats."""

    formula = "z = x / y"
    gate = "scales by 1/y and by −x/y²"
    domain = "y ≠ 0; at 0 the result is ±∞ or NaN"
    interval = (0.5, 3.0)

    def value(s, x, y):
        return x / y

    def slope_x(s, y):
        return 1.0 / y

    def slope_y(s, x, y):  # not from the quotient, which is often written to in place afterwards
        return -(x / y) / y


class Pow(Elementwise):
    """``x ** y``, broadcast."""

    formula = "z = x^y"
    gate = "scales by y·x^(y−1) and by x^y·ln x"
    domain = "x > 0, or x = 0 with y ≥ 0, or x < 0 with y a whole number; ∂/∂y only where x ≥ 0"
    floats = False
    interval = (0.5, 2.5)

    def value(s, x, y):
        return s.pow(x, y)

    def slope_x(s, x, y):
        if isinstance(y, int | float):  # a number stays one, so that it neither widens x nor is rounded
            return y * s.pow(x, y - 1.0) if y else 0.0
        # A number must stay one: as a 0-d array it would widen x.
        less = y - 1.0 if isinstance(y, (int, float)) else s.where(y == 0, 1.0, y - 1.0)
        return s.where(y == 0, 0.0, y * s.pow(x, less))

    def slope_y(s, x, y, out):
        return s.where((x == 0) & (y >= 0), 0.0, out * s.log(x))


class Maximum(Elementwise):
    """The larger of two tensors, element by element; NaN wins. Where both are equal the gradient is halved."""

    formula = "z = max(x, y)"
    gate = "routes the upstream gradient to the larger input"
    floats = False

    def value(s, x, y):
        return s.maximum(x, y)

    def pull_x(s, g, x, y):
        return s.where(x > y, g, s.where(x == y, g * 0.5, s.where(x < y, 0.0, g)))

    def pull_y(s, g, x, y):
        return s.where(y > x, g, s.where(x == y, g * 0.5, s.where(y < x, 0.0, g)))


class Minimum(Elementwise):
    """The smaller of two tensors, element by element; NaN wins. Where both are equal the gradient is halved."""

    formula = "z = min(x, y)"
    gate = "routes the upstream gradient to the smaller input"
    floats = False

    def value(s, x, y):
        return s.minimum(x, y)

    def pull_x(s, g, x, y):
        return s.where(x < y, g, s.where(x == y, g * 0.5, s.where(x > y, 0.0, g)))

    def pull_y(s, g, x, y):
        return s.where(y < x, g, s.where(x == y, g * 0.5, s.where(y > x, 0.0, g)))


class Atan2(Elementwise):
    """The angle of the point (x, y), in radians between −π and π: ``atan2(y, x)``."""

    formula = "z = atan2(y, x)"
    gate = "scales by x/(x²+y²) and by −y/(x²+y²)"
    domain = "not differentiable at the origin, where the slope is infinite"
    interval = (0.3, 2.0)

    def value(s, y, x):
        return s.atan2(y, x)

    def slope_y(s, y, x):
        return x / (x * x + y * y)

    def slope_x(s, y, x):
        return -y / (x * x + y * y)


class Remainder(Elementwise):
    """Remainder with the sign of the divisor: ``x - y * floor(x / y)``."""

    formula = "z = x − y⌊x/y⌋"
    gate = "passes to x; scales by −⌊x/y⌋ to y"
    domain = "y ≠ 0; jumps where x/y is a whole number"
    floats = False
    interval = (1.1, 1.9)

    def value(s, x, y):
        return s.remainder(x, y)

    def pull_x(s, g):
        return g

    def slope_y(s, x, y):
        return -s.floor(x / y)


class Fmod(Elementwise):
    """Remainder with the sign of the dividend: ``x - y * trunc(x / y)``."""

    formula = "z = x − y·trunc(x/y)"
    gate = "passes to x; scales by −trunc(x/y) to y"
    domain = "y ≠ 0; jumps where x/y is a whole number"
    floats = False
    interval = (1.1, 1.9)

    def value(s, x, y):
        return s.fmod(x, y)

    def pull_x(s, g):
        return g

    def slope_y(s, x, y):
        return -s.trunc(x / y)


class FloorDivide(Elementwise):
    """The quotient rounded down: ``x // y``. Connected to the graph with gradient zero, as floor is."""

    name = "floor_divide"
    formula = "z = ⌊x/y⌋"
    gate = "blocks: a step function has slope 0"
    domain = "y ≠ 0; jumps where x/y is a whole number"
    floats = False
    interval = (1.1, 1.9)

    def value(s, x, y):
        return x // y

    def pull_x(s, g):
        return g * 0.0

    def pull_y(s, g):
        return g * 0.0


class Where(Elementwise):
    """``x`` where the condition holds, else ``y``. The input that was not selected receives exactly zero."""

    formula = "z = x if condition else y"
    gate = "routes the upstream gradient to the selected input"
    floats = False

    def value(s, condition, x, y):
        return s.where(condition, x, y)

    def pull_x(s, g, condition):
        return s.where(condition, g, 0.0)

    def pull_y(s, g, condition):
        return s.where(condition, 0.0, g)

    @classmethod
    def samples(cls, rng):
        yield Sample(rng.random((3, 4)) < 0.5, rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
        yield Sample(rng.random((3, 1)) < 0.5, rng.normal(size=(4,)), rng.normal(size=(2, 1, 4)))
        yield Sample(rng.random(()) < 0.5, rng.normal(size=()), rng.normal(size=()))


class Neg(Elementwise):
    """``-x``."""

    formula = "y = −x"
    gate = "changes the sign"
    floats = False

    def value(s, x):
        return -x

    def pull_x(s, g):
        return -g


plain_add = binary(Add)
plain_sub = binary(Sub)
mul = binary(Mul)
plain_div = binary(Div)
gated = binary(GatedMul)
maximum = binary(Maximum)
minimum = binary(Minimum)
atan2 = binary(Atan2)
remainder = binary(Remainder)
fmod = binary(Fmod)
floor_divide = binary(FloorDivide)
neg = unary(Neg)
_power = binary(Pow)


@operation(Add)
def add(x: Any, y: Any, /, *, alpha: Any = None) -> Tensor:
    """Sum of two tensors, broadcast: ``x + y``, or ``x + alpha * y``."""
    return plain_add(x, y if alpha is None else mul(y, alpha))


@operation(Sub)
def sub(x: Any, y: Any, /, *, alpha: Any = None) -> Tensor:
    """Difference of two tensors, broadcast: ``x - y``, or ``x - alpha * y``."""
    return plain_sub(x, y if alpha is None else mul(y, alpha))


@operation(Div)
def div(x: Any, y: Any, /, *, rounding_mode: str | None = None) -> Tensor:
    """Quotient of two tensors, broadcast: true division, or rounded to whole numbers.

    Args:
        rounding_mode: None for ``x / y`` (integers are divided as floats), ``"floor"`` to round down as ``//`` does,
            ``"trunc"`` to round towards zero; a rounded quotient keeps the dtype and passes no gradient.
    """
    if rounding_mode is None:
        return plain_div(x, y)
    if rounding_mode == "floor":
        return floor_divide(x, y)
    if rounding_mode != "trunc":
        raise OperationError(
            f"div at {describe(mark())}: rounding_mode is None, 'floor' or 'trunc', not {rounding_mode!r}."
        )
    from .rounding import trunc

    x, y = match(x, y)
    return trunc(plain_div(x, y)).astype(x.dtype)


@operation(Pow)
def pow(x: Any, exponent: Any) -> Tensor:
    """``x ** exponent``, broadcast; a whole negative base needs a whole exponent.

    >>> import backlit as bl
    >>> x = bl.tensor(3.0, requires_grad=True)
    >>> bl.pow(x, 2).backward()
    >>> x.grad
    tensor(6.)
    """
    if type(exponent) in (int, float) and exponent == 2:
        from .transcendental import square

        return square(x)
    return _power(x, exponent)


@operation(Where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Choose from ``x`` where ``condition`` is true and from ``y`` elsewhere, broadcast.

    With the condition alone, the indices of its true entries, as ``nonzero(as_tuple=True)``.
    """
    condition = operand(condition)
    if x is None and y is None:
        from .lookup import nonzero

        return nonzero(condition, as_tuple=True)
    if condition.dtype.kind != "b":
        condition = condition != 0
    x, y = match(x, y)
    return apply(Where, (condition, x, y))


@operation(
    formula="z = x (1 − w) + y w",
    gate="distributes, weighted",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.normal(size=(4,)), 0.3),
        Sample(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 1))),
    ],
)
def lerp(x: Any, y: Any, weight: Any) -> Tensor:
    """Linear interpolation ``x + weight * (y - x)``."""
    x, y = match(x, y)
    return x + (y - x) * weight


true_divide = div
