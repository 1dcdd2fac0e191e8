"""The chain rule between single numbers: a product of local gradients along each path, and their sum."""

from __future__ import annotations

import math
from functools import reduce

from ..record.model import Edge, RecordNode
from . import forms
from . import terms as t
from .document import Code, Equation, Numbers, Side, Value
from .evaluation import Unknown, evaluate

Path = tuple[Edge, ...]
"""Edges from the result down to the value, in the order of the backward pass."""


def paths(root: RecordNode, leaf: RecordNode, most: int) -> list[Path] | None:
    """All paths by which gradient came from ``root`` to ``leaf``; None where there are more than ``most``."""
    found: list[Path] = []
    stack: list[tuple[RecordNode, Path]] = [(leaf, ())]
    while stack:
        node, so_far = stack.pop()
        if node.id == root.id:
            found.append(so_far)
            if len(found) > most:
                return None
            continue
        stack += [(edge.target, (edge, *so_far)) for edge in reversed(node.terms) if edge.target.id <= root.id]
        if len(stack) > 64 * most:
            return None
    return found


def product(path: Path) -> t.Term:
    """∂loss/∂s · ∂s/∂ŷ · ∂ŷ/∂w, each factor with its number."""
    factors: list[t.Term] = [_factor(edge) for edge in path]
    return reduce(lambda a, b: t.Product(a, b, "·"), factors)


def _factor(edge: Edge) -> t.Partial:
    local = forms.local_symbol(edge)
    local.value = edge.local.value
    return local


def _sum(terms: list[t.Term]) -> t.Term:
    return reduce(t.Sum, terms)


def whole(root: RecordNode, leaf: RecordNode, found: list[Path]) -> Equation:
    """``∂loss/∂w = ∂loss/∂s · ∂s/∂ŷ · ∂ŷ/∂w = (−2) · 1 · 1 = −2``."""
    if len(found) == 1 and len(found[0]) == 1:
        return _local(found[0][0])
    total = _sum([product(path) for path in found])
    sides: tuple[Side, ...] = (t.Partial(root.name, leaf.name), total, Numbers(total), *_each(found))
    return Equation((*sides, Value(leaf.upstream)))


def _each(found: list[Path]) -> tuple[Numbers, ...]:
    """Of several paths, what each gives: ``3 + 3 + 2``."""
    if len(found) < 2 or all(len(path) == 1 for path in found):
        return ()
    ends = [math.prod(float(edge.local.row()) for edge in path) for path in found]
    return (Numbers(_sum([t.Number(end) for end in ends])),)


def forward(found: list[Path]) -> list[Equation]:
    """How each value on the paths was computed."""
    nodes = {edge.target.id: edge.target for path in found for edge in path}
    return [_computed(nodes[number]) for number in sorted(nodes)]


def _computed(node: RecordNode) -> Equation:
    return Equation((t.Symbol(node.name), *computed_by(node), Value(node.value)))


def computed_by(node: RecordNode) -> tuple[Code, ...]:
    """The user's expression that computed a value, or the operation's formula."""
    text = node.expression or node.formula
    return () if not text or text == node.name else (Code(text),)


def local_equations(found: list[Path]) -> list[Equation]:
    """Each local gradient once: symbol, formula, the formula with numbers, and its value."""
    seen: dict[tuple[int, int], Edge] = {}
    for path in found:
        for edge in path:
            seen.setdefault((edge.target.id, edge.position), edge)
    return [_local(edge) for edge in seen.values()]


def _local(edge: Edge) -> Equation:
    left = forms.local_symbol(edge)
    value = edge.local.value
    slope = forms.slope(edge)
    formula = _stated(edge) if slope is None else slope
    if formula is None or isinstance(formula, t.Number):
        return Equation((left, Value(value)))
    try:
        evaluate(formula)
    except Unknown:
        return Equation((left, formula, Value(value)))
    numbers = () if isinstance(formula, t.Symbol) else (Numbers(formula),)
    return Equation((left, formula, *numbers, Value(value)))


def _stated(edge: Edge) -> t.Term | None:
    """A formula from the definition of an operation that is not elementwise, for an upstream gradient of 1."""
    form = forms.handed_down(edge, t.Number(1.0)).term
    return None if isinstance(form, t.Partial) else form
