"""The scalar functions of the operations' definitions, on vectors.

:class:`ScalarFunctions` has the names that ``value(s, x)`` and ``slope_x(s, x)`` of an elementwise operation use, so
that one definition computes on arrays, is recorded, and becomes vector instructions.

Largest errors, in units in the last place (`tests/compile/codegen/test_mathfun.py` holds them; float32 over a dense
sample of all bit patterns, float64 over random samples), on machines without fused multiplication and addition too:

| function | float32 | float64 |
|---|---|---|
| exp | 1.1 | 1.1 |
| exp2 | 1.1 | 1.1 |
| expm1 | 1.7 | 2.2 |
| tanh | 2.6 | 2.6 |
| sigmoid | 2.5 | 2.5 |
| log | 0.9 | 1.6 |
| log1p | 1.5 | 1.7 |
| log2 | 1.4 | 1.3 |
| log10 | 1.3 | 1.3 |
| softplus | 1.7 | 2.2 |
| sin | 1.6 | 1.6 |
| cos | 1.6 | 1.6 |
| erf | 1.3 | 1.2 |
| erfc | 5.2 | 16.0 |
| sqrt | 0.6 | 0.6 |
| rsqrt | 1.5 | 1.6 |

Denormal results count in gaps between denormals. NaN and infinities are NumPy's. pow is within 1.0 in float32
(`tests/compile/test_powers.py`); in float64 it calls the C library lane by lane, as do tan, the inverse and hyperbolic
functions. There is no erfinv. fmod, remainder and floor_divide are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import division, error_function, exponential, logarithm, power, trigonometry
from .libm import per_lane
from .values import Value
from .vector import VectorBuilder

_VECTORISED: dict[str, Callable[..., Value]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "softplus": logarithm.softplus,
    "logaddexp": logarithm.logaddexp,
    "sin": trigonometry.sin,
    "cos": trigonometry.cos,
    "erf": error_function.erf,
    "erfc": error_function.erfc,
    "pow": power.pow,
    "fmod": division.fmod,
    "remainder": division.remainder,
    "floor_divide": division.floor_divide,
    "maximum": VectorBuilder.maximum,
    "minimum": VectorBuilder.minimum,
    "where": VectorBuilder.where,
}
CHAINED = frozenset({
    "exp", "exp2", "expm1", "tanh", "sigmoid", "log", "log1p", "log2", "log10", "softplus", "logaddexp", "sin", "cos",
    "erf", "erfc",
})  # fmt: skip
"""Functions that are long chains of instructions, each of which waits for the one before."""

_INTRINSICS = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "rint"}
_LIBM = {
    name: name for name in ("tan", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2", "hypot")
}


class ScalarFunctions:
    """What ``s`` is in a definition, when it is lowered: functions of :class:`~.values.Value` that emit at ``builder``.

    An operand may be a Python number where another operand is a value.
    """

    def __init__(self, builder: VectorBuilder) -> None:
        self.builder = builder

    @classmethod
    def supports(cls, name: str) -> bool:
        """Whether a definition that uses ``s.<name>`` can be lowered."""
        return name in _VECTORISED or name in _INTRINSICS or name in _LIBM or name in cls.__dict__

    def __getattr__(self, name: str) -> Callable[..., Value]:
        b = self.builder
        if name in _VECTORISED:
            function = _VECTORISED[name]
            return lambda *operands: function(b, *_values(operands, name))
        if name in _INTRINSICS:
            return lambda x: b.intrinsic(_INTRINSICS[name], x)
        if name in _LIBM:
            return lambda *operands: per_lane(b, _LIBM[name], *_values(operands, name))
        raise AttributeError(name)

    def square(self, x: Value) -> Value:
        """x²."""
        return x * x

    def rsqrt(self, x: Value) -> Value:
        """1/√x."""
        return 1.0 / self.builder.intrinsic("sqrt", x)

    def sign(self, x: Value) -> Value:
        """−1, 0 or 1; NaN passes."""
        one = self.builder.intrinsic("copysign", x.like(1.0), x)
        return self.builder.where(x == 0, 0.0, self.builder.where(x == x, one, x))

    def sinc(self, x: Value) -> Value:
        """sin(πx)/(πx), 1 at 0."""
        angle = self.builder.where(x == 0, 1.0e-20, x) * math.pi
        return trigonometry.sin(self.builder, angle) / angle

    def isnan(self, x: Value) -> Value:
        """Where x is NaN."""
        return x != x

    def logical_and(self, x: Value, y: Value) -> Value:
        """Where both are not zero."""
        return (x != 0) & (y != 0)

    def logical_or(self, x: Value, y: Value) -> Value:
        """Where either is not zero."""
        return (x != 0) | (y != 0)

    def gated(self, g: Value, slope: Any) -> Value:
        """``g * slope`` where zero times infinity or NaN is zero, as in eager mode."""
        return self.builder.where(g == 0, 0.0, g * slope)


def _values(operands: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Numbers in the type of the operand that is a value (selection and extremes take them as they are)."""
    if name in ("where", "maximum", "minimum"):
        return operands
    known = next(x for x in operands if isinstance(x, Value))
    return tuple(known.like(x) for x in operands)


__all__ = ["CHAINED", "ScalarFunctions"]
