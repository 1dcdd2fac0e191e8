"""Step functions: floor, ceil, trunc, round. Their slope is 0 wherever it exists, so no gradient passes.

Results are connected to the graph all the same, as in PyTorch: the gradient is zero, not missing.
"""

from __future__ import annotations

from typing import Any

from .definition import Tensor, operation
from .elementwise import Elementwise, operand, unary


class _Step(Elementwise):
    gate = "blocks: a step function has slope 0"
    domain = "jumps at whole numbers"
    floats = False
    interval = (0.1, 0.4)


class Floor(_Step):
    """The largest whole number not above x."""

    formula = "y = ⌊x⌋"

    def value(s, x):
        return s.floor(x)

    def pull_x(s, g):
        return g * 0.0


class Ceil(_Step):
    """The smallest whole number not below x."""

    formula = "y = ⌈x⌉"

    def value(s, x):
        return s.ceil(x)

    def pull_x(s, g):
        return g * 0.0


class Trunc(_Step):
    """x without its fractional part."""

    formula = "y = trunc x"

    def value(s, x):
        return s.trunc(x)

    def pull_x(s, g):
        return g * 0.0


class Round(_Step):
    """The nearest whole number; halves go to the even one."""

    formula = "y = round x"

    def value(s, x):
        return s.round(x)

    def pull_x(s, g):
        return g * 0.0


floor = unary(Floor)
ceil = unary(Ceil)
trunc = unary(Trunc)
_round = unary(Round)


@operation(Round)
def round(x: Any, *, decimals: int = 0) -> Tensor:
    """The nearest number with ``decimals`` decimal places; halves go to the even one."""
    if decimals == 0:
        return _round(x)
    factor = 10.0**decimals
    return _round(operand(x) * factor) / factor
