"""Why a call of a formula cannot be computed: shapes that do not fit, and places outside the real numbers."""

from __future__ import annotations

import numpy as np

from ...source import describe, mark
from ..errors import Span
from .binding import place_of_argument
from .expression import Call

_ABOVE = {"log": 0, "log2": 0, "log10": 0, "log1p": -1}
_DIVIDE = {"/": 1, "reciprocal": 0, "rsqrt": 0}
"""Functions that divide, by the position of what they divide by."""


def refused(call: Call, arrays: list[np.ndarray], error: Exception) -> str:
    """What an operation's own error says, in terms of the formula."""
    name = call.function
    shapes = " and ".join(describe_shape(array.shape) for array in arrays)
    if name == "[]":
        return f"there is no such element in {shapes}; each index counts from 0 along its dimension"
    if name in ("@", "matmul", "dot"):
        reason = "the last size of the first must be the first size of the second, and neither may be a number"
    elif name in ("+", "-", "*", "/", "**", "maximum", "minimum", "pow") or (name in ("max", "min") and arrays[1:]):
        reason = "sizes must be equal, or one of them 1"
    else:
        reason = str(error)
        _, place, rest = reason.partition(f" at {describe(mark())}: ")
        reason = (rest if place else reason).removeprefix(f"{name}: ")
    return f"'{name}' cannot take {shapes}: {reason.rstrip('.')}"


def not_finite(call: Call, arrays: list[np.ndarray], result: np.ndarray, domain: str) -> tuple[str, Span]:
    """Why a result is infinite or not a number, and the place that is to blame."""
    name = call.function
    if name in _DIVIDE and np.any(arrays[_DIVIDE[name]] == 0):
        return f"division by zero{_where(arrays[_DIVIDE[name]] == 0)}", place_of_argument(call, _DIVIDE[name])
    if name in ("**", "pow") and np.any((arrays[0] == 0) & (arrays[1] < 0)):
        return "division by zero: 0 to a negative power", call.span
    if name in _ABOVE and np.any(arrays[0] <= _ABOVE[name]):
        bad = arrays[0] <= _ABOVE[name]
        found = f"{arrays[0][bad].flat[0]:g}{_where(bad)}"
        return f"{name} is defined for numbers above {_ABOVE[name]}, and this is {found}", place_of_argument(call, 0)
    if name in ("**", "pow") and np.any((arrays[0] < 0) & (arrays[1] != np.rint(arrays[1]))):
        return "a negative number to a broken power is not a real number", call.span
    if np.isnan(result).any():
        return f"'{name}' is not a real number at {_at(arrays, result)} (defined for: {domain})", call.span
    if len(arrays) == 1 and domain != "all real inputs" and arrays[0].shape == result.shape:
        return f"'{name}' is infinite at {_at(arrays, result)} (defined for: {domain})", call.span
    return f"the result of '{name}' is too large for float64", call.span


def _at(arrays: list[np.ndarray], result: np.ndarray) -> str:
    """The values of the arguments where the result is not finite."""
    bad = ~np.isfinite(result)
    if all(array.shape == result.shape for array in arrays):
        return ", ".join(f"{array[bad].flat[0]:g}" for array in arrays) + _where(bad)
    return ", ".join(f"{a:g}" if a.ndim == 0 else describe_shape(a.shape) for a in arrays)


def _where(bad: np.ndarray) -> str:
    """The index of the first bad element, in brackets; nothing for a single number."""
    return f" (at [{', '.join(map(str, np.argwhere(bad)[0].tolist()))}])" if bad.ndim else ""


def describe_shape(shape: tuple[int, ...]) -> str:
    """``a number``, ``a list of 3``, ``a 2×3 array``."""
    if not shape:
        return "a number"
    return f"a list of {shape[0]}" if len(shape) == 1 else f"a {'×'.join(map(str, shape))} array"
