"""Numbers in pictures: four significant digits, a real minus sign, shapes with a cross (as in assets/js/numbers.js)."""

from __future__ import annotations

import math
from typing import Any

_DIGITS = 4
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number(value: Any) -> str:
    """A number in at most four significant digits.

    >>> number(-1 / 3), number(12.0), number(1.5e-7), number("inf")
    ('−0.3333', '12', '1.5e−7', '∞')
    """
    x = _WORDS.get(value, math.nan) if isinstance(value, str) else float(value)
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    size = abs(x)
    if x == 0:
        text = "0"
    elif 1e-3 <= size < 1e6:
        text = str(int(x)) if x == int(x) else _plain(float(f"{x:.{_DIGITS}g}"))
    else:
        digits, exponent = f"{x:.{_DIGITS - 1}e}".split("e")
        text = f"{_plain(float(digits))}e{int(exponent)}"
    return text.replace("-", "−")


def _plain(x: float) -> str:
    return f"{x:.10g}"


def shape_text(shape: Any) -> str:
    """``32×10``; a vector's length stands in brackets, so that it is not taken for a number; empty for scalars."""
    return f"({shape[0]})" if len(shape) == 1 else "×".join(map(str, shape))


def short_values(numbers: dict[str, Any] | None) -> str | None:
    """The values themselves, where there are at most three; None otherwise.

    >>> short_values({"shape": [2], "values": [1.0, -2.5]})
    '[1, −2.5]'
    """
    values = None if numbers is None else numbers.get("values")
    if values is None:
        return None
    flat = list(_flat(values))
    if len(flat) > 3:
        return None
    return number(flat[0]) if len(flat) == 1 else f"[{', '.join(map(number, flat))}]"


def _flat(values: Any) -> Any:
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def value_label(numbers: dict[str, Any] | None, shape: Any) -> str:
    """What is written above an edge: the value where it is short, the shape otherwise."""
    found = short_values(numbers)
    return shape_text(shape) if found is None else found


def gradient_label(numbers: dict[str, Any] | None) -> str:
    """What is written below an edge: the gradient where it is short, its norm otherwise; empty for none."""
    if numbers is None:
        return ""
    found = short_values(numbers)
    return f"‖{number(numbers['stats']['norm'])}‖" if found is None else found
