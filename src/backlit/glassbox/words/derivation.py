"""The chain rule for one value of a record, written out: symbols first and numbers second."""

from __future__ import annotations

from typing import Any, get_args

from ...errors import GradientError, RecordError
from ..record.model import Record, RecordNode
from . import chain, figures
from . import terms as t
from .deltas import Deltas, between
from .document import Document, Equation, Form, Value, merged

_PATHS = 8
"""More paths than this are not written out as a sum of products, unless everything is asked for."""
_ALL = 512


def derivation(rec: Record, x: Any, *, form: Form = "text", full: bool = False) -> str:
    """The chain rule from the result down to ``x``.

    Between single numbers it is a product of local gradients along each path and the sum over paths; between arrays,
    δ notation with shapes: each layer's gradient in terms of the one above.

    Args:
        rec: the record.
        x: a node, its name, or the tensor; or a list of them, derived together.
        form: ``"text"`` (a line each, Unicode), ``"markdown"`` (formulas between ``$$``), or ``"latex"`` (``align*``,
            for ``amsmath``).
        full: also how every value on the way was computed, and every path, however many (up to 512).

    Raises:
        RecordError: there is no such node, or another form is asked for.
        GradientError: no gradient came to ``x`` in this pass.

    >>> import backlit as bl
    >>> w = bl.tensor(1.0, requires_grad=True)
    >>> s = w * 3.0
    >>> loss = s * w
    >>> print(derivation(bl.explain(loss, names={"s": s, "loss": loss}), w).splitlines()[0])
    ∂loss/∂w = ∂loss/∂s · ∂s/∂w + ∂loss/∂w = 1 · 3 + 3 = 3 + 3 = 6
    """
    if form not in get_args(Form):
        raise RecordError(f"form={form!r}: choose from {', '.join(get_args(Form))}.")
    return document(rec, x, full).write(form)


def document(rec: Record, x: Any, full: bool = False) -> Document:
    """The derivation, to be written in any form."""
    if isinstance(x, (list, tuple)):
        return merged([document(rec, each, full) for each in x])
    node = rec.node(x)
    if node.upstream_kept is None:
        raise GradientError(
            f"derivation: no gradient came to {node.name} in this backward pass, so there is no chain rule to write "
            "out. bl.why(it) tells the reason."
        )
    if len(rec.roots) == 1 and _scalar(rec.roots[0], node):
        found = chain.paths(rec.roots[0], node, _ALL if full else _PATHS)
        if found is not None and all(path for path in found):
            return _products(rec.roots[0], node, found)
    return _layers(rec, node, full)


def _scalar(root: RecordNode, node: RecordNode) -> bool:
    """Whether everything between two nodes is a single number."""
    seen: set[int] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.shape != () or current.value is None:
            return False
        fresh = [e.target for e in current.terms if e.target.id not in seen and e.target.id <= root.id]
        seen |= {target.id for target in fresh}
        stack += fresh
    return root.seed is not None and bool(root.seed == 1)


def _products(root: RecordNode, node: RecordNode, found: list[chain.Path]) -> Document:
    document = Document("")
    document.add("", [chain.whole(root, node, found)])
    if found != [found[0][:1]]:
        document.add("with", chain.local_equations(found))
    document.add("where", chain.forward(found))
    return document


def _layers(rec: Record, node: RecordNode, full: bool) -> Document:
    deltas = Deltas(rec)
    top = _top(rec)
    used = [delta for delta in deltas.chain(node) if delta.node.id != node.id]
    equations = [deltas.equation(delta.node, top) for delta in used]
    document = Document("")
    document.add("", [*equations, deltas.equation(node, top)])
    document.add("where", deltas.where(node))
    if full:
        document.add("forward", [_forward(n) for n in reversed(between(node)) if n.op is not None])
    return document


def _top(rec: Record) -> str:
    """What is differentiated: the result by its name, several as L."""
    return rec.roots[0].name if len(rec.roots) == 1 else "L"


def _forward(node: RecordNode) -> Equation:
    name = t.Symbol(node.name, node.value, node.shape)
    code = chain.computed_by(node)
    small = node.value is not None and node.value.size <= figures.SHOWN and node.value.ndim <= 2
    return Equation((name, *code, *((Value(node.value),) if small else ())), node.shape)
