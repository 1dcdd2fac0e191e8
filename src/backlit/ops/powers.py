"""Powers with a number for the exponent, as the products, quotients and roots that they are.

Only such as stay within two and a half units in the last place of the exact power, over all numbers; the others are
left to a function for any exponent. No step in between overflows, or loses digits among the denormals, where the power
does not: that is why ``x**-3`` is not ``1 / x**3``. Zeros, infinities and NaN give what the C library's ``pow`` gives,
except that ``x**0.5`` is the square root: −0 of −0, and NaN of −∞.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def _roots(s: Any, x: Any) -> tuple[Any, Any]:
    """``x`` as broken powers see it, where −0 counts as 0 and −∞ as ∞, and its square root."""
    base = s.where(x == -math.inf, math.inf, x + 0.0)
    return base, s.sqrt(base)


def _inverse_root(s: Any, x: Any) -> Any:
    return 1.0 / _roots(s, x)[1]


def _three_halves(s: Any, x: Any) -> Any:
    base, root = _roots(s, x)
    return base * root


def _five_halves(s: Any, x: Any) -> Any:
    base, root = _roots(s, x)
    return base * base * root


def _inverse_three_halves(s: Any, x: Any) -> Any:
    base, root = _roots(s, x)
    return 1.0 / base / root


_OF_FLOATS: dict[float, Callable[[Any, Any], Any]] = {
    0.5: lambda s, x: s.sqrt(x),
    1.5: _three_halves,
    2.5: _five_halves,
    -0.5: _inverse_root,
    -1.5: _inverse_three_halves,
    -1.0: lambda s, x: 1.0 / x,
    -2.0: lambda s, x: 1.0 / x / x,
    -3.0: lambda s, x: 1.0 / x / (x * x),
}

_LONGEST = 4
"""The largest whole exponent of a floating number that is multiplied out; products of whole numbers are exact."""


def written_power(s: Any, x: Any, exponent: float) -> Any:
    """``x ** exponent`` in the scalar functions ``s``, new and never ``x`` itself; None where it is not that simple."""
    floating = x.dtype.kind == "f"
    if floating and exponent in _OF_FLOATS:
        return _OF_FLOATS[exponent](s, x)
    if not float(exponent).is_integer() or exponent < 1 or (floating and exponent > _LONGEST):
        return None
    return x * exponent if exponent == 1 else _multiplied(x, int(exponent))


def _multiplied(x: Any, exponent: int) -> Any:
    """Products of squares, one after the other along the exponent's binary digits."""
    power = x
    for digit in bin(exponent)[3:]:
        power = power * power
        if digit == "1":
            power = power * x
    return power


__all__ = ["written_power"]
