"""The notation in which operations state their backward formulas, read into terms.

``"g bᵀ"``, ``"out ⊙ (g − Σ_row(out ⊙ g))"``, ``"g (p − onehot(target))/N; p = softmax(x), N = 32"``: the upstream
gradient is ``g``, the inputs have the names of the definition, ``out`` is the output. A space is a matrix product (or a
product with a number), ``⊙`` works entry by entry, ``ᵀ`` and ``²`` stand behind, functions have parentheses right
behind them. Behind a semicolon stands what further names mean: a formula after ``=``, words after ``:``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from . import terms as t

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*)|((?!ᵀ)[^\W\d](?:(?!ᵀ)\w|[̂̄])*′?)|([()/+−⊙·,ᵀ²√]))")


class Form(NamedTuple):
    """A formula, and what the names mean that it introduces: terms, or words."""

    term: t.Term
    where: tuple[tuple[t.Term, t.Term | str], ...]


def read(text: str, names: Mapping[str, t.Term]) -> Form:
    """A formula with the names put in.

    Args:
        text: the formula, in the notation above.
        names: what stands for ``g``, ``out`` and the inputs.

    Raises:
        ValueError: the text is not in the notation.

    >>> form = read("g bᵀ", {"g": t.Symbol("δ"), "b": t.Symbol("W")})
    >>> form.term
    Product(left=Symbol(name='δ'), right=Transpose(inner=Symbol(name='W')), kind='@')
    """
    formula, _, rest = text.partition(";")
    meanings = _meanings(rest.strip(" ,"))
    local = {name: t.Symbol(name) for name in meanings if name not in names}
    known = {**names, **local}
    where = []
    for name, meaning in meanings.items():
        found: t.Term | str = meaning[1:].strip() if meaning[0] == ":" else _Reader(meaning[1:], known).whole()
        if isinstance(found, t.Number):
            local[name].value = found.number
        called = re.search(rf"(?<!\w){re.escape(name)}\(", text)
        where.append((t.Function(name) if called else local[name], found))
    return Form(_Reader(formula, known).whole(), tuple(where))


def _meanings(text: str) -> dict[str, str]:
    """Names with their meaning, which starts with ``=`` or ``:``."""
    parts = re.split(r",\s*(?=\w+[̂̄]?\s*[=:])", text.strip()) if text.strip() else []
    found = {}
    for part in parts:
        name = re.match(r"\w+[̂̄]?", part.strip())
        if name is None:
            raise ValueError(f"{part!r} does not say what a name means")
        found[name[0]] = part.strip()[name.end() :].strip()
    return found


class _Reader:
    """Reads one formula from left to right."""

    def __init__(self, text: str, names: Mapping[str, t.Term]) -> None:
        self.text, self.names = text, names
        self.tokens: list[str] = []
        self.tight: list[bool] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(f"{text!r} is not a formula, from {text[place:]!r} on")
            self.tokens.append(found[0].strip())
            self.tight.append(not found[0].startswith(" "))
            place = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise ValueError(f"{self.text!r}: expected {wanted or 'more'}, found {token or 'the end'!r}")
        self.at += 1
        return token

    def whole(self) -> t.Term:
        found = self.sum()
        if self.peek():
            raise ValueError(f"{self.text!r}: {self.peek()!r} is not expected")
        return found

    def sum(self) -> t.Term:
        if self.peek() == "−":
            self.take()
            found = t.negative(self.product())
        else:
            found = self.product()
        while self.peek() in ("+", "−"):
            combine = t.add if self.take() == "+" else t.subtract
            found = combine(found, self.product())
        return found

    def product(self) -> t.Term:
        found = self.factor()
        while self.peek() not in ("", "+", "−", ")", ","):
            sign = self.take() if self.peek() in ("/", "⊙", "·") else "@"
            if sign == "/":
                found = t.divide(found, self.factor())
            else:
                right = self.factor()
                plain = sign == "·" or isinstance(found, t.Number)
                found = t.multiply(found, right, "" if plain else sign)
        return found

    def factor(self) -> t.Term:
        found = self.atom()
        while self.peek() in ("ᵀ", "²"):
            found = transpose(found) if self.take() == "ᵀ" else t.power(found, t.Number(2.0))
        return found

    def atom(self) -> t.Term:
        token = self.take()
        if token == "(":
            found = self.sum()
            self.take(")")
            return found
        if token == "√":
            return t.Call("sqrt", (self.factor(),))
        if token[0].isdigit():
            return t.Number(float(token))
        if self.peek() == "(" and self.tight[self.at]:
            return self.call(token)
        return self.names[token] if token in self.names else t.Symbol(token)

    def call(self, name: str) -> t.Term:
        self.take("(")
        arguments = [self.sum()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.sum())
        self.take(")")
        return t.Call(name, tuple(arguments))


def transpose(a: t.Term) -> t.Term:
    """``aᵀ``; a number stays."""
    if isinstance(a, t.Transpose):
        return a.inner
    return a if isinstance(a, t.Number) else t.Transpose(a)
