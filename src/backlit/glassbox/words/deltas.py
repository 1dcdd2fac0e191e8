"""The backward pass in δ notation: gradients of layers by name, each in terms of the one above.

Formulas of single operations are put into one another as long as that reads well. A gradient gets a name, δ, where an
operation needs it as a matrix (or twice), where several contributions meet, and where a formula grows long. The names
are numbered along the forward pass, so that δ1 belongs to the first layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..record.model import Edge, Record, RecordNode
from . import forms
from . import terms as t
from .document import Equation, Value
from .figures import SHOWN

_LONG = 8
"""A gradient whose formula holds more symbols than this is named before it is used."""


@dataclass
class Delta:
    """A named gradient: of which node, and by which formula."""

    symbol: t.Symbol
    node: RecordNode
    formula: t.Term


class Deltas:
    """The formulas of all gradients of a record's backward pass."""

    def __init__(self, rec: Record) -> None:
        self.rec = rec
        self.named: dict[int, Delta] = {}
        self.formulas: dict[int, t.Term] = {}
        self.meanings: dict[tuple[int, int], list[tuple[t.Term, t.Term | str]]] = {}
        self._introduced: dict[str, Any] = {}
        self._taken = {node.name for node in rec.nodes}
        for node in sorted(_reached(rec), key=lambda n: -n.id):
            self.formulas[node.id] = self._arriving(node)
        for count, delta in enumerate(sorted(self.named.values(), key=lambda d: d.node.id), 1):
            delta.symbol.name = f"δ{count}"

    def _arriving(self, node: RecordNode) -> t.Term:
        """The sum of what the users hand down, and of what the pass started with here."""
        total = _started(self.rec, node)
        for edge in node.terms:
            total = t.add(total, self._contribution(edge))
        return total

    def _contribution(self, edge: Edge) -> t.Term:
        g = self.formulas[edge.target.id]
        if not isinstance(g, t.Symbol) and self._deserves_name(edge, g):
            g = self._name(edge.target, g)
        form = forms.handed_down(edge, g)
        self.meanings[edge.target.id, edge.position] = list(self._unique(form.where))
        return form.term

    def _deserves_name(self, edge: Edge, g: t.Term) -> bool:
        if isinstance(g, t.Number) and edge.target.shape == ():
            return False
        probe = t.Symbol("g", None, edge.target.shape)
        if not forms.pointwise(forms.handed_down(edge, probe).term, probe):
            return True
        wanting = [e for e in edge.target.inputs if e.downstream_kept is not None]
        several = len(wanting) > 1 and not isinstance(g, t.Number)
        return several or isinstance(g, t.Sum) or forms.size(g) > _LONG

    def _name(self, node: RecordNode, formula: t.Term) -> t.Term:
        if node.id not in self.named:
            value = node.upstream
            self.named[node.id] = Delta(t.Symbol("δ", value, node.shape), node, formula)
            self.formulas[node.id] = self.named[node.id].symbol
        return self.formulas[node.id]

    def _unique(self, where: Any) -> Iterator[tuple[t.Term, t.Term | str]]:
        """Names that formulas introduce, told apart from the user's names and from each other by a number."""
        for name, meaning in where:
            if isinstance(name, t.Symbol):
                plain, count = name.name, 1
                while name.name in self._taken or self._means_another(name, meaning):
                    count += 1
                    name.name = f"{plain}{count}"
            self._introduced[_key(name)] = _key(meaning)
            yield name, meaning

    def _means_another(self, name: t.Symbol, meaning: t.Term | str) -> bool:
        known = self._introduced.get(_key(name))
        return known is not None and known != _key(meaning)

    # -- what is printed ----------------------------------------------------------------------------------------

    def chain(self, node: RecordNode) -> list[Delta]:
        """The named gradients that the gradient of ``node`` rests on, from the loss on."""
        return [self.named[n.id] for n in between(node) if n.id in self.named]

    def equation(self, node: RecordNode, top: str) -> Equation:
        """``∂L/∂W1 = δ1ᵀ X = numbers   (shapes)``."""
        delta = self.named.get(node.id)
        formula = self.formulas[node.id] if delta is None else delta.formula
        left = t.Partial(top, node.name)
        sides = (left, formula) if delta is None else (delta.symbol, left, formula)
        return Equation((*sides, *_number(node)), node.shape, _factors(formula))

    def where(self, node: RecordNode) -> list[Equation]:
        """What the names mean that the formulas introduce on which the gradient of ``node`` rests."""
        found: dict[tuple[str, str], Equation] = {}
        for above in between(node):
            for edge in above.terms:
                for name, meaning in self.meanings[edge.target.id, edge.position]:
                    if isinstance(meaning, str):
                        found.setdefault((_key(name), meaning), Equation((name,), note=meaning))
                    else:
                        found.setdefault((_key(name), _key(meaning)), Equation((name, meaning)))
        return list(found.values())


def _started(rec: Record, node: RecordNode) -> t.Term:
    """What the pass started with at a node: 1 for ones, as it does by itself; else a symbol; 0 where it did not."""
    kept = None if rec._pass is None else rec._pass.seeds.get(node.id)
    if kept is None:
        return t.Number(0.0)
    ones = kept.statistics.min == kept.statistics.max == 1
    return t.Number(1.0) if ones else t.Symbol("g", kept.array, node.shape)


def between(node: RecordNode) -> list[RecordNode]:
    """A node and all through which its gradient came, from the loss on."""
    seen = {node.id: node}
    stack = [node]
    while stack:
        fresh = {edge.target.id: edge.target for edge in stack.pop().terms if edge.target.id not in seen}
        seen |= fresh
        stack += fresh.values()
    return [seen[number] for number in sorted(seen, reverse=True)]


def _number(node: RecordNode) -> tuple[Value, ...]:
    value = node.upstream
    small = value is not None and value.size <= SHOWN and value.ndim <= 2
    return (Value(value),) if small else ()


def _key(term: t.Term | str) -> str:
    return term if isinstance(term, str) else term.key


def _reached(rec: Record) -> list[RecordNode]:
    return [node for node in rec.nodes if node.upstream_kept is not None]


def _factors(term: t.Term) -> tuple[tuple[int, ...], ...]:
    """The shapes of the factors of a product of matrices, or of a matrix and a vector."""
    found = tuple(_flattened(term))
    return found if len(found) > 1 and all(len(shape) in (1, 2) for shape in found) else ()


def _flattened(term: t.Term) -> Iterator[tuple[int, ...]]:
    match term:
        case t.Product(left, right, "@"):
            yield from _flattened(left)
            yield from _flattened(right)
        case t.Transpose(t.Symbol(shape=tuple() as shape)):
            yield shape[::-1]
        case t.Symbol(shape=tuple() as shape) if shape:
            yield shape
        case _:
            yield ()
