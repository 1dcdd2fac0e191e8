"""Two ways to write a term: in a line of Unicode, and in LaTeX; each with symbols, or with their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import figures
from .terms import (
    ATOM,
    CONDITION,
    CONSTANTS,
    POWER,
    PRODUCT,
    SUM,
    Call,
    Choice,
    Condition,
    Function,
    Indicator,
    Negative,
    Number,
    Partial,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    Term,
    Transpose,
)

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WORDS = {"log": "ln", "maximum": "max", "minimum": "min", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Text:
    """A line of Unicode: ``y(1 − y)``, ``Xᵀ δ1``. With ``numeric``, symbols are replaced by their numbers."""

    minus, dot, hadamard = "−", " · ", " ⊙ "
    slanted = True  # fractions are written in the line and need parentheses

    def __init__(self, numeric: bool = False) -> None:
        self.numeric = numeric

    def write(self, term: Term) -> str:
        """The whole term."""
        return getattr(self, type(term).__name__.lower())(term)

    def inside(self, term: Term, level: int) -> str:
        """A part of a larger term, in parentheses where it holds together less than ``level``."""
        written = self.write(term)
        loose = term.level < level or (self.numeric and level > SUM and written.startswith(self.minus))
        return self.wrapped(written) if loose else written

    def wrapped(self, written: str) -> str:
        """In parentheses."""
        return f"({written})"

    def number(self, term: Number) -> str:
        """A constant, by its name if it has one."""
        sign = self.minus if term.number < 0 else ""
        for value, names in CONSTANTS.items():
            if abs(term.number) == value and not self.numeric:
                return sign + self.constant(names)
        return self.digits(term.number)

    def constant(self, names: tuple[str, str]) -> str:
        """The constant's name in this script."""
        return names[0]

    def digits(self, x: Any) -> str:
        """A number."""
        return figures.digits(x)

    def symbol(self, term: Symbol) -> str:
        """The name, or its number."""
        number = self._number(term.value)
        return self.name(term.name) if number is None else number

    def name(self, name: str) -> str:
        """A name."""
        return name

    def _number(self, value: Any) -> str | None:
        known = self.numeric and value is not None and np.ndim(value) == 0
        return self.digits(value) if known else None

    def partial(self, term: Partial) -> str:
        """``∂s/∂y``, or its number."""
        number = self._number(term.value)
        if number is not None:
            return number
        index = "" if term.index is None else f"|{str(term.index).translate(_SUBSCRIPT)}"
        return f"∂{term.top}/∂{term.bottom}{index}"

    def sum(self, term: Sum) -> str:
        """``a + b``."""
        right = self.inside(term.right, PRODUCT if term.minus or self.numeric else SUM)
        return f"{self.inside(term.left, SUM)} {self.minus if term.minus else '+'} {right}"

    def negative(self, term: Negative) -> str:
        """``−a``."""
        return f"{self.minus}{self.inside(term.inner, PRODUCT)}"

    def product(self, term: Product) -> str:
        """``a b``, ``a ⊙ b`` or, between matrices, ``a b``."""
        left = self.inside(term.left, PRODUCT)
        if term.kind == "⊙":
            return self._hadamard(term, left, self.inside(term.right, PRODUCT))
        right = self.inside(term.right, POWER if isinstance(term.right, Quotient) else PRODUCT)
        if self.numeric:
            return f"{left}{self.dot}{right}"
        return f"{left}{self.between(term, left, right)}{right}"

    def _hadamard(self, term: Product, left: str, right: str) -> str:
        """Around ⊙ sums and matrix products stand in parentheses."""
        parts = []
        for part, written in ((term.left, left), (term.right, right)):
            fraction = isinstance(part, Quotient) and self.slanted
            loose = fraction or (isinstance(part, Product) and part.kind != "⊙")
            parts.append(self.wrapped(written) if loose else written)
        return self.hadamard.join(parts)

    def between(self, term: Product, left: str, right: str) -> str:
        """What stands between two factors: nothing, a space, or a dot where names are long."""
        if term.kind == "@":
            return " "
        if isinstance(term.left, Number):
            short = right.startswith("(") or (len(right) <= 2 and not right[0].isdigit())
            return "" if short and not {"/", " "} & {*left} else self.dot
        if right.startswith("(") and len(left) <= 3:
            return ""
        return " " if len(left) <= 3 and len(right) <= 3 else self.dot

    def quotient(self, term: Quotient) -> str:
        """``a/b``."""
        bottom = self.inside(term.bottom, POWER)
        composed = isinstance(term.bottom, Number) and ("/" in bottom or " " in bottom)
        return f"{self.inside(term.top, PRODUCT)}/{self.wrapped(bottom) if composed else bottom}"

    def power(self, term: Power) -> str:
        """``a²``, ``a^b``."""
        base, exponent = self.inside(term.base, ATOM), self.write(term.exponent)
        if isinstance(term.exponent, Number) and term.exponent.number == int(term.exponent.number):
            return base + str(int(term.exponent.number)).translate(_SUPERSCRIPT)
        return f"{base}^{exponent if term.exponent.level == ATOM else self.wrapped(exponent)}"

    def transpose(self, term: Transpose) -> str:
        """``aᵀ``."""
        inner = self.inside(term.inner, ATOM)
        return f"{self.wrapped(inner) if isinstance(term.inner, Partial) else inner}ᵀ"

    def call(self, term: Call) -> str:
        """``tanh(z)``, ``√z``, ``|z|``."""
        arguments = ", ".join(self.write(x) for x in term.arguments)
        match term.name:
            case "abs":
                return f"|{arguments}|"
            case "floor":
                return f"⌊{arguments}⌋"
            case "sqrt":
                return f"√{self.inside(term.arguments[0], ATOM)}"
        return f"{_WORDS.get(term.name, term.name)}({arguments})"

    def function(self, term: Function) -> str:
        """Its name."""
        return term.name

    def condition(self, term: Condition) -> str:
        """``a > b``."""
        return f"{self.inside(term.left, SUM)} {term.relation} {self.inside(term.right, SUM)}"

    def indicator(self, term: Indicator) -> str:
        """``[a > b]``: 1 where it holds, else 0."""
        return f"[{self.write(term.condition)}]"

    def choice(self, term: Choice) -> str:
        """``a if x > 0 else b``."""
        return f"{self.inside(term.yes, SUM)} if {self.write(term.condition)} else {self.inside(term.no, CONDITION)}"


class Latex(Text):
    """LaTeX mathematics, for ``amsmath``."""

    minus, dot, hadamard = "-", r" \cdot ", r" \odot "
    slanted = False
    _functions = frozenset({"exp", "tanh", "sin", "cos", "tan", "sinh", "cosh", "max", "min", "ln"}) | frozenset(
        {"arcsin", "arccos", "arctan"}
    )

    def wrapped(self, written: str) -> str:
        return rf"\left({written}\right)"

    def constant(self, names: tuple[str, str]) -> str:
        return names[1]

    def digits(self, x: Any) -> str:
        return figures.latex_digits(x)

    def name(self, name: str) -> str:
        return figures.latex_name(name)

    def partial(self, term: Partial) -> str:
        number = self._number(term.value)
        if number is not None:
            return number
        whole = rf"\frac{{\partial {self.name(term.top)}}}{{\partial {self.name(term.bottom)}}}"
        return whole if term.index is None else rf"\left.{whole}\right|_{{{term.index}}}"

    def between(self, term: Product, left: str, right: str) -> str:
        if term.kind == "@" or right.startswith(r"\left("):
            return r"\, " if term.kind == "@" else ""
        return r"\, " if not right[0].isdigit() else self.dot

    def quotient(self, term: Quotient) -> str:
        return rf"\frac{{{self.write(term.top)}}}{{{self.write(term.bottom)}}}"

    def power(self, term: Power) -> str:
        return rf"{{{self.inside(term.base, ATOM)}}}^{{{self.write(term.exponent)}}}"

    def transpose(self, term: Transpose) -> str:
        inner = self.inside(term.inner, ATOM)
        return rf"{{{self.wrapped(inner) if isinstance(term.inner, Partial) else inner}}}^{{\top}}"

    def call(self, term: Call) -> str:
        arguments = ", ".join(self.write(x) for x in term.arguments)
        match term.name:
            case "abs":
                return rf"\left|{arguments}\right|"
            case "floor":
                return rf"\lfloor {arguments} \rfloor"
            case "sqrt":
                return rf"\sqrt{{{arguments}}}"
        return rf"{self._function(_WORDS.get(term.name, term.name))}\left({arguments}\right)"

    def function(self, term: Function) -> str:
        return self._function(term.name)

    def _function(self, name: str) -> str:
        stem = name.removesuffix("′")
        prime = "'" * (len(name) - len(stem))
        if stem in self._functions:
            return rf"\{stem}{prime}"
        if stem.partition("_")[0] == "Σ":
            under = stem.partition("_")[2]
            return rf"\sum_{{\text{{{under}}}}} " if under else r"\sum "
        return (figures.latex_name(stem) if len(stem) == 1 else rf"\operatorname{{{_upright(stem)}}}") + prime

    def condition(self, term: Condition) -> str:
        signs = {"≥": r"\ge", "≤": r"\le", "≠": r"\ne", "and": r"\text{ and }", "or": r"\text{ or }"}
        return f"{self.inside(term.left, SUM)} {signs.get(term.relation, term.relation)} {self.inside(term.right, SUM)}"

    def indicator(self, term: Indicator) -> str:
        return rf"\left[{self.write(term.condition)}\right]"

    def choice(self, term: Choice) -> str:
        yes, no, condition = self.write(term.yes), self.write(term.no), self.write(term.condition)
        return rf"\begin{{cases}} {yes} & \text{{if }} {condition} \\ {no} & \text{{else}} \end{{cases}}"


def _upright(name: str) -> str:
    return name.replace("_", r"\_").replace("-", "{-}")


UNICODE, LATEX = Text(), Latex()
NUMBERS, LATEX_NUMBERS = Text(numeric=True), Latex(numeric=True)
