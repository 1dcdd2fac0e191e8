"""What an operation hands down along one edge, as a formula: from the operation's own definition.

Elementwise operations and losses between pairs state their slopes as expressions, which are run on symbols here; all
others state ``Op.gradients``. Where a definition states neither, the formula is the chain rule itself, with the local
gradient as a symbol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...ops.definition import Context
from ...ops.elementwise import Elementwise, pull_rule
from ...ops.pointwise import Pointwise
from ..record.model import Edge, RecordNode
from . import terms as t
from .evaluation import settled
from .notation import Form, read

_FUNCTION_NAMES = {"sigmoid": "σ", "log": "ln", "gelu_tanh": "gelu"}
_SHORT = 2
"""A slope of up to so many symbols is written where it is used; a longer one gets a name, f′."""


class Slope(NamedTuple):
    """The local slope of an elementwise operation: where it is used, and what the name means that it introduces."""

    used: t.Term
    where: tuple[tuple[t.Term, t.Term | str], ...] = ()


def symbol(node: RecordNode) -> t.Term:
    """A value by its name; a number that the user wrote, by itself."""
    entry = node._entry
    if entry.kind == "constant" and node.shape == () and node.value is not None and not node.name.isidentifier():
        return t.Number(float(node.value))
    return t.Symbol(node.name, node.value, node.shape)


def slope(edge: Edge) -> t.Term | None:
    """∂target/∂source of an elementwise operation at its recorded values; None where no expression states it."""
    op, node = edge.target.definition, edge.target
    if not issubclass(op, Elementwise):
        return None
    rule = pull_rule(op, edge.argument)
    if rule is None:
        return None
    pull, names = rule
    return _traced(pull, names, node, node.params)


def _traced(pull: Any, names: tuple[str, ...], node: RecordNode, params: Mapping[str, Any]) -> t.Term | None:
    """A rule run on symbols, its choices settled by the values; numbers that the user wrote stay numbers."""
    known = _operands(node)
    given = (known.get(name) for name in names)  # None for what was left out
    operands = [x.number if isinstance(x, t.Number) else x for x in given]
    try:
        return settled(t.term(pull(t.FUNCTIONS, t.Number(1.0), *operands, **params)))
    except TypeError:  # the rule branches on values
        return None


def _operands(node: RecordNode) -> dict[str, t.Term]:
    """Symbols for the inputs by the definition's names, and for the output."""
    found = {edge.argument: symbol(edge.source) for edge in reversed(node.inputs)}
    return {**found, "out": t.Symbol(node.name, node.value, node.shape)}


def handed_down(edge: Edge, g: t.Term) -> Form:
    """The contribution along an edge, as a formula of the upstream gradient ``g``."""
    op = edge.target.definition
    if issubclass(op, Elementwise):
        return _elementwise(edge, g)
    form = _pointwise(edge, g) if issubclass(op, Pointwise) else None
    form = _stated(edge, g) if form is None else form
    return _chain_rule(edge, g) if form is None else form


def _elementwise(edge: Edge, g: t.Term) -> Form:
    used, where = _short_slope(edge)
    product = times(g, used, edge.target.shape)
    if edge.summed_axes:
        if edge.summed_axes == (0,) and len(edge.target.shape) == 2:
            return Form(t.Call("Σ_rows", (product,)), where)
        product = t.Call("Σ_copies", (product,))
        where = (*where, (t.Function("Σ_copies"), _copies(edge)))
    return Form(product, where)


def _copies(edge: Edge) -> str:
    axes = ", ".join(map(str, edge.summed_axes))
    return f"over dimension{'s' * (len(edge.summed_axes) > 1)} {axes}, along which {edge.source.name} was repeated"


def _short_slope(edge: Edge) -> Slope:
    """The slope itself where it is short, else f′(x) with what that is."""
    found = slope(edge)
    if found is None:
        return Slope(local_symbol(edge))
    name = _FUNCTION_NAMES.get(edge.target.op or "", edge.target.op)
    arguments = tuple(symbol(e.source) for e in edge.target.inputs)
    weight = size(found) if len(arguments) == 1 else size(found) - numbers(found)
    if weight <= _SHORT and not isinstance(found, (t.Indicator, t.Choice)):
        return Slope(found)
    if len(arguments) > 1:
        local = local_symbol(edge)
        return Slope(local, ((local, found),))
    prime = t.Call(f"{name}′", arguments)
    return Slope(prime, ((prime, found),))


def local_symbol(edge: Edge) -> t.Partial:
    """∂target/∂source; which use is meant, where an operation has the same input twice."""
    twice = sum(e.source.id == edge.source.id for e in edge.target.inputs) > 1
    return t.Partial(edge.target.name, edge.source.name, edge.position + 1 if twice else None)


def size(term: t.Term) -> int:
    match term:
        case t.Symbol() | t.Number() | t.Partial():
            return 1
        case t.Call(_, arguments):
            return 1 + sum(map(size, arguments))
        case t.Negative(inner) | t.Transpose(inner):
            return size(inner)
        case t.Indicator(condition):
            return size(condition)
        case t.Sum(a, b) | t.Product(a, b) | t.Quotient(a, b) | t.Power(a, b) | t.Condition(_, a, b):
            return size(a) + size(b)
        case t.Choice(condition, yes, no):
            return size(condition) + size(yes) + size(no)
    return 1


def numbers(term: t.Term) -> int:
    """How many of those are plain numbers."""
    return int(isinstance(term, t.Number)) + sum(map(numbers, parts(term)))


def _single(term: t.Term) -> bool:
    """Whether a term stands for one number."""
    if isinstance(term, t.Symbol):
        return term.shape == () or (term.shape is None and isinstance(term.value, float))
    return isinstance(term, t.Number) or (bool(parts(term)) and all(map(_single, parts(term))))


def times(g: t.Term, factor: t.Term, shape: tuple[int, ...]) -> t.Term:
    """``g`` times a slope: ``⊙`` between arrays, plain with a number."""
    alone = shape == () or (isinstance(factor, t.Symbol) and factor.shape == ())
    if isinstance(g, t.Quotient) and t.is_number(g.top, 1) and _single(g.bottom):
        return t.divide(factor, g.bottom)
    if _single(g) or isinstance(factor, t.Number):
        return t.multiply(g, factor)
    return t.multiply(g, factor, "" if alone else "⊙")


def _pointwise(edge: Edge, g: t.Term) -> Form | None:
    """A loss between pairs: the slope of each entry, divided by their number for a mean."""
    op, node = edge.target.definition, edge.target
    pull = getattr(op, f"pull_{edge.argument}", None)
    found = getattr(op, f"slope_{edge.argument}", None)
    params = {name: value for name, value in node.params.items() if name != "reduction"}
    if pull is not None:
        names = pull.__code__.co_varnames[2 : pull.__code__.co_argcount]
        term = _traced(pull, names, node, params)
    elif found is not None:
        names = found.__code__.co_varnames[1 : found.__code__.co_argcount]
        term = _traced(lambda s, g, *values, **rest: s.gated(g, found(s, *values, **rest)), names, node, params)
    else:
        stated = _stated(edge, t.Number(1.0))
        term = None if stated is None else stated.term
    if term is None:
        return None
    product = times(g, term, () if node.shape == () else node.shape)
    if node.params["reduction"] != "mean":
        return Form(product, ())
    n = t.Symbol("n", float(math.prod(edge.source.shape)))
    return Form(t.divide(product, n), ((n, t.Number(n.value)),))


def _stated(edge: Edge, g: t.Term) -> Form | None:
    """What ``Op.gradients`` says."""
    node = edge.target
    text = node.definition.gradient_form(edge.argument, context(node))
    return read(text, {**_operands(node), "g": g}) if text else None


def context(node: RecordNode) -> Context:
    """What a rule may ask of a node: its settings and shapes."""
    ctx = Context()
    ctx.params, ctx.extra, ctx.shape, ctx.dtype = node.params, node.extra, node.shape, node.dtype
    numbers = node._entry.inputs
    ctx.shapes = tuple(() if n is None else node._record.nodes[n].shape for n in numbers)
    ctx.edges = ()
    return ctx


def _chain_rule(edge: Edge, g: t.Term) -> Form:
    """Upstream through the local gradient, which stays a symbol; the gate's words say what it does."""
    local = local_symbol(edge)
    words = edge.target.gate or "its rule states no formula"
    if edge.target.shape == () or isinstance(g, t.Number):
        return Form(times(g, local, ()), ((local, words),))
    return Form(t.Product(t.Transpose(local), g, "@"), ((local, words),))


def pointwise(form: t.Term, g: t.Term) -> bool:
    """Whether ``g`` occurs in a formula once and not in a product of matrices, so that a formula may stand for it."""
    match form:
        case t.Product(left, right, kind) if kind != "@":
            inner, other = (left, right) if _holds(left, g) else (right, left)
            return not _holds(other, g) and pointwise(inner, g)
        case t.Quotient(top, bottom):
            return not _holds(bottom, g) and pointwise(top, g)
        case t.Negative(inner):
            return pointwise(inner, g)
        case t.Call(_, (inner,)):  # read in another shape, added up: g stays whole
            return pointwise(inner, g)
    return form is g


def _holds(term: t.Term, wanted: t.Term) -> bool:
    return term is wanted or any(_holds(part, wanted) for part in parts(term))


def parts(term: t.Term) -> tuple[t.Term, ...]:
    """The terms that a term is made of."""
    found = term.arguments if isinstance(term, t.Call) else tuple(vars(term).values())
    return tuple(part for part in found if isinstance(part, t.Term))
