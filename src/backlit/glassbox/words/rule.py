"""What an operation does to the gradient along one edge, as a formula: whole, and short enough for a picture."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..record.model import Edge
from . import terms as t
from .forms import handed_down
from .scripts import UNICODE, Text

MOST = 12
"""How many letters fit above the line of a picture."""


class Rule(NamedTuple):
    """``formula`` gives the contribution in terms of δ, the upstream gradient; ``meanings`` of the names it introduces;
    ``label`` says the same in few letters, empty where that cannot be done."""

    formula: str
    meanings: tuple[str, ...]
    label: str


def rule(edge: Edge) -> Rule | None:
    """The rule along an edge; None where the operation states none.

    >>> import backlit as bl
    >>> x, w = bl.ones(4, 3), bl.ones(3, 2, requires_grad=True)
    >>> rule(bl.explain((x @ w).sum(), names={"x": x, "w": w}).node("w").users[0])
    Rule(formula='xᵀ δ', meanings=(), label='xᵀ δ')
    """
    delta = t.Symbol("δ", None, edge.target.shape)
    form = handed_down(edge, delta)
    if any(isinstance(name, t.Partial) and isinstance(meaning, str) for name, meaning in form.where):
        return None
    return Rule(UNICODE.write(form.term), tuple(_meaning(*one) for one in form.where), _label(form.term))


def _meaning(name: t.Term, meaning: t.Term | str) -> str:
    written = f": {meaning}" if isinstance(meaning, str) else f" = {UNICODE.write(meaning)}"
    return f"{UNICODE.write(name)}{written}"


class _Short(Text):
    """Names without the modules they are in, slopes without what they are slopes at."""

    def name(self, name: str) -> str:
        return re.sub(r"#\d+$", "", name).rpartition(".")[2]

    def call(self, term: t.Call) -> str:
        return term.name if term.name.endswith("′") else super().call(term)


_SHORT = _Short()


def _label(term: t.Term) -> str:
    """What is done to δ: ``⊙ relu′``, ``× 1``, ``δ Wᵀ``, ``xᵀ δ``."""
    written = _SHORT.write(term)
    if written.startswith("δ ⊙ ") and "δ" not in written[1:]:
        written = written.removeprefix("δ ")
    written = {"δ": "× 1", "−δ": "× −1"}.get(written, written)
    return written if len(written) <= MOST else ""


__all__ = ["Rule", "rule"]
