"""Numbers, arrays, shapes and names as people write them, in Unicode and in LaTeX."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..record.numbers import Kept

SHOWN = 16
"""Arrays with more entries are described by their shape and norm."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_GREEK = "alpha α beta β gamma γ delta δ varepsilon ε lambda λ mu μ pi π sigma σ tau τ varphi φ Phi Φ Sigma Σ theta θ"
_WORDS = f"{_GREEK} eta η omega ω rho ρ Delta Δ".split()
_LETTERS = dict(zip(_WORDS[1::2], _WORDS[::2], strict=True))
_HATS = {"ŷ": r"\hat{y}", "x̂": r"\hat{x}", "ẑ": r"\hat{z}", "x̄": r"\bar{x}"}


def digits(x: Any, count: int = 5) -> str:
    """A number with ``count`` significant digits and a true minus sign; powers of ten where it is very large or small.

    >>> digits(-2.0), digits(0.1966119332414819), digits(1.5e-7), digits(float("inf"))
    ('−2', '0.19661', '1.5×10⁻⁷', '∞')
    """
    x = float(x)
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    mantissa, _, exponent = f"{x + 0.0:.{count}g}".partition("e")
    power = f"×10{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent else ""
    return mantissa.replace("-", "−") + power


def latex_digits(x: Any, count: int = 5) -> str:
    """The same in LaTeX.

    >>> latex_digits(-1.5e-7)
    '-1.5\\\\times 10^{-7}'
    """
    x = float(x)
    if not math.isfinite(x):
        return r"\mathrm{NaN}" if math.isnan(x) else r"\infty" if x > 0 else r"-\infty"
    mantissa, _, exponent = f"{x + 0.0:.{count}g}".partition("e")
    return mantissa + (rf"\times 10^{{{int(exponent)}}}" if exponent else "")


def array(value: Any, count: int = 5, most: int = SHOWN) -> str:
    """A number, an array of up to ``most`` entries row by row, or the shape and norm of a larger one.

    >>> array([[1, -2], [3, 4]])
    '[[1, −2], [3, 4]]'
    """
    if value is None:
        return "not kept"
    a = np.asarray(value)
    if a.ndim == 0:
        return digits(a, count)
    if a.size > most:
        return f"{shape(a.shape)} entries, norm {digits(np.linalg.norm(a.astype(float)), 4)}"
    return "[" + ", ".join(array(item, min(count, 4)) for item in a) + "]"


def kept(known: Kept | None, missing: str, count: int = 5, most: int = SHOWN) -> str:
    """What a record keeps of an array: its numbers, or what the statistics say; ``missing`` where nothing is kept.

    >>> from backlit.glassbox.record.numbers import Kept
    >>> kept(Kept(np.array(-2.5)).dropped(), "unknown")
    '−2.5'
    """
    if known is None:
        return missing
    if known.array is not None:
        return array(known.array, count, most)
    stats = known.statistics
    if known.shape == ():
        return digits(stats.mean, count) if not stats.infs else "infinite"
    return f"{shape(known.shape)} entries, norm {digits(stats.norm, 4)}"


def latex_array(value: Any, count: int = 5) -> str:
    """The same in LaTeX; small vectors and matrices as a ``bmatrix``."""
    if value is None:
        return r"\text{not kept}"
    a = np.asarray(value)
    if a.ndim == 0:
        return latex_digits(a, count)
    if a.size > SHOWN or a.ndim > 2:
        norm = latex_digits(np.linalg.norm(a.astype(float)), 4)
        return rf"\text{{{latex_text(shape(a.shape))} entries, norm }} {norm}"
    rows = a.reshape(1, -1) if a.ndim == 1 else a
    body = r" \\ ".join(" & ".join(latex_digits(x, 4) for x in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


def shape(sizes: tuple[int, ...]) -> str:
    """``32×10``; a single number is a scalar."""
    return "×".join(map(str, sizes)) or "scalar"


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 row``, ``48 rows``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def latex_shape(sizes: tuple[int, ...]) -> str:
    """``32 \\times 10``."""
    return r" \times ".join(map(str, sizes)) or r"\text{scalar}"


def percent(share: float) -> str:
    """A share in percent: whole numbers, but never 0 or 100 where it is not quite.

    >>> percent(0.614), percent(0.0004), percent(0.9999), percent(1.0)
    ('61 %', 'under 1 %', 'over 99 %', '100 %')
    """
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share * 100:.0f} %"


def latex_name(name: str) -> str:
    r"""A name in a formula: ``w0`` as ``w_{0}``, longer ones upright.

    >>> latex_name("w0"), latex_name("hidden.weight"), latex_name("δ2")
    ('w_{0}', '\\mathrm{hidden.weight}', '\\delta_{2}')
    """
    if name in _HATS:
        return _HATS[name]
    found = re.fullmatch(r"(.*?[^\d.#_])[#_]?(\d+)", name)
    stem, index = (found[1], found[2]) if found else (name, "")
    if stem in _HATS:
        letter = _HATS[stem]
    elif stem in _LETTERS:
        letter = rf"\{_LETTERS[stem]}"
    else:
        letter = stem if len(stem) == 1 and stem.isalpha() else rf"\mathrm{{{_escaped(stem)}}}"
    return f"{letter}_{{{index}}}" if index else letter


def _escaped(text: str) -> str:
    """Text in an upright font of mathematics, where a hyphen would be a minus."""
    text = "".join(rf"\{_LETTERS[c]}" + "{}" if c in _LETTERS else _SPECIAL.get(c, c) for c in text)
    return text.replace(" ", r"\ ").replace("-", r"\text{-}")


_SPECIAL = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_SPECIAL |= {c: "\\" + c for c in "{}$&#%_"} | {c: rf"$\{word}$" for c, word in _LETTERS.items()}
_SPECIAL |= {"×": r"$\times$", "−": "$-$", "·": r"$\cdot$", "√": r"$\surd$", "²": "$^2$", "∞": r"$\infty$"}


def latex_text(text: str) -> str:
    r"""Plain text with LaTeX's special characters made harmless.

    >>> latex_text("a_b & 50 %")
    'a\\_b \\& 50 \\%'
    """
    return "".join(_SPECIAL.get(c, c) for c in text)
