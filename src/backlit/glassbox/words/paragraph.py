"""A node of a record in one paragraph of plain words: what it is, what it does to gradients, and what happened here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BacklitError
from ...ops.elementwise import NUMPY, Elementwise, pull_rule
from ..record.model import Edge, Record, RecordNode
from ..record.numbers import Kept
from . import figures

Array = NDArray[Any]

_FLAT = 0.05
"""A slope below this share of the steepest one counts as saturated."""
_TERMS = 6
"""Of more terms of a sum only the largest is named."""


def paragraph(rec: Record, which: Any) -> str:
    """One paragraph about a node: what computed it, what its gate does to gradients, and what that did here.

    Args:
        rec: the record.
        which: a node, its name or number, or the tensor.

    Raises:
        RecordError: there is no such node.

    >>> import backlit as bl
    >>> x = bl.tensor(3.0, requires_grad=True)
    >>> rec = bl.explain(x * x + 2 * x)
    >>> paragraph(rec, x).split(". ")[1]
    'The gradient here is the sum of 3 terms, 3 + 3 + 2 = 8; the largest came from `mul`'
    """
    node = rec.node(which)
    return " ".join((*_identity(node), *_arrival(node), *_departure(node)))


def _identity(node: RecordNode) -> Iterator[str]:
    value = _described(node.value_kept, node.shape)
    if node.op is None:
        kind = {"parameter": "a parameter", "variable": "a variable that requires gradients"}.get(
            node.kind, "a constant: gradients do not go on into it"
        )
        yield f"`{node.name}` is {kind}; it holds {value}."
        return
    inputs = _listed([f"`{edge.source.name}`" for edge in node.inputs])
    source = "" if node.source is None else f" (in {node.source})"
    inside = f" in module `{node.module}`" if node.module else ""
    yield f"`{node.name}` is {node.op} of {inputs or 'nothing'}{inside}{source}; it holds {value}."
    if node.gate:
        yield f"What {node.op} does to gradients: {node.gate}."


def _described(kept: Kept | None, shape: tuple[int, ...]) -> str:
    if kept is None:
        return f"{figures.shape(shape)} numbers that the record does not keep" if shape else "a number that is not kept"
    value = kept.array
    if value is None:
        return _amount(kept)
    if value.size <= figures.SHOWN:
        return figures.array(value)
    finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value
    odd = value.size - finite.size
    strange = f", and {odd} that are not finite" if odd else ""
    if not finite.size:
        return f"{figures.shape(shape)} numbers, none of them finite"
    low, high = figures.digits(finite.min(), 3), figures.digits(finite.max(), 3)
    return f"{figures.shape(shape)} numbers between {low} and {high}{strange}"


# -- what arrives ----------------------------------------------------------------------------------------------------


def _arrival(node: RecordNode) -> Iterator[str]:
    if node.upstream_kept is None:
        if node.kind != "constant":
            yield "No gradient came here in this backward pass; bl.why tells the reason."
        return
    kept, total, terms = node.upstream_kept, node.upstream, node.terms
    starts = any(root.id == node.id for root in node._record.roots)
    if starts and not terms:
        yield f"The backward pass starts here, with {_amount(kept)}."
    elif len(terms) == 1 and not starts:
        yield f"The gradient here is {_amount(kept)}; it came from `{terms[0].target.name}`."
    elif total is None or any(edge.downstream is None for edge in terms):
        yield f"The gradient here is {_amount(kept)}, a sum of {len(terms)} terms of which only statistics were kept."
    else:
        yield _sum_of(node, terms, total)
    if node.op is None:
        yield _accumulated(node)


def _sum_of(node: RecordNode, terms: tuple[Edge, ...], total: Array) -> str:
    """A join: the terms, which is the largest, and whether they cancel."""
    parts = [(_norm(edge.downstream), edge) for edge in terms]
    largest = max(parts, key=lambda part: part[0])[1]
    started = "" if node.seed is None else f", besides {_amount(Kept(node.seed))} with which the pass started here"
    count = f"The gradient here is the sum of {len(terms)} terms"
    if len(terms) > _TERMS:
        written = f"{count}, {_amount(Kept(total))}"
    elif total.ndim == 0:
        sum_ = _signed([float(np.asarray(edge.downstream)) for edge in terms])
        written = f"{count}, {sum_} = {figures.digits(total)}" if node.seed is None else f"{count}, {sum_}"
    else:
        norms = _listed([figures.digits(norm, 3) for norm, _ in parts])
        written = f"{count} of norms {norms}, together {figures.digits(_norm(total), 3)}"
    apart = sum(norm for norm, _ in parts)
    against = "; they work against each other" if apart > 2 * _norm(total) and apart else ""
    return f"{written}{started}; the largest came from `{largest.target.name}`{against}."


def _signed(numbers: list[float]) -> str:
    """``2 + 3 − 1``."""
    first, *rest = numbers
    return figures.digits(first) + "".join(f" {'−' if x < 0 else '+'} {figures.digits(abs(x))}" for x in rest)


def _accumulated(node: RecordNode) -> str:
    walked = node._record._pass
    if walked is None or walked.after.get(node.id) is None:
        return "It was not put into .grad."
    before = walked.before.get(node.id)
    if before is None:
        return "It was the first to be put into .grad."
    return f"It was added to {_amount(before)} that .grad held before."


# -- what is handed down ---------------------------------------------------------------------------------------------


def _departure(node: RecordNode) -> Iterator[str]:
    if node.upstream is None or node.op is None:
        return
    seen = set()
    for edge in node.inputs:
        if edge.downstream is None:
            continue
        sentence = _handed(edge, node.upstream, edge.downstream)
        if sentence not in seen:
            yield sentence
        seen.add(sentence)


def _handed(edge: Edge, upstream: Array, downstream: Array) -> str:
    if edge.local.shape == ():
        slope = float(downstream) / float(upstream) if upstream else math.nan
        known = "" if math.isnan(slope) else f" = {figures.digits(upstream)} · {_inner(slope)}"
        return f"It handed {figures.digits(downstream)}{known} down to `{edge.source.name}`."
    told = _entry_by_entry(edge, upstream) if issubclass(edge.target.definition, Elementwise) else None
    sentence = told or _by_norm(edge, upstream, downstream)
    copies = math.prod(edge.target.shape) // max(1, math.prod(edge.source.shape)) if edge.summed_axes else 1
    if copies > 1:
        sentence += f" `{edge.source.name}` was used {copies} times by broadcasting, so its contributions are added up."
    return sentence


def _inner(x: float) -> str:
    return f"({figures.digits(x)})" if x < 0 else figures.digits(x)


def _entry_by_entry(edge: Edge, upstream: Array) -> str | None:
    """What an elementwise gate did: passed and blocked, or scaled; None where its slopes cannot be had."""
    try:
        slopes = np.broadcast_to(np.asarray(edge.local.value), upstream.shape)
    except BacklitError:
        return None
    name = edge.source.name
    if not slopes.size:
        return None
    if not np.isfinite(slopes).all():
        return f"Towards `{name}` {int((~np.isfinite(slopes)).sum())} of {slopes.size} slopes are not finite."
    if np.isin(slopes, (0, 1)).all() and not slopes.all():
        return _passed(edge, upstream, slopes)
    low, high = figures.digits(slopes.min(), 3), figures.digits(slopes.max(), 3)
    if low == high:
        plain = {"1": "unchanged", "−1": "with the sign changed"}.get(low, f"times {low}")
        return f"It handed the gradient down to `{name}` {plain}."
    factor = _factor(_norm(upstream * slopes), _norm(upstream))
    flat = _saturated(edge, slopes)
    return f"Towards `{name}` its slopes lie between {low} and {high}{flat}: {factor}."


def _passed(edge: Edge, upstream: Array, slopes: Array) -> str:
    """A gate of zeros and ones: how much of the gradient came through, and units that never opened."""
    total = float(np.abs(upstream).sum())
    passed = float(np.abs(upstream * slopes).sum()) / total if total else 0.0
    sentence = (
        f"Towards `{edge.source.name}` it passed {figures.percent(passed)} of the gradient and blocked "
        f"{figures.percent(1 - passed)} ({int((slopes == 0).sum())} of {slopes.size} entries were shut"
    )
    if slopes.ndim < 2:
        return f"{sentence})."
    units = slopes.reshape(-1, slopes.shape[-1]).any(axis=0)
    shut, rows = int((~units).sum()), slopes.size // slopes.shape[-1]
    never = f"{shut} of {units.size} units were never active" if shut else "every unit was active at least once"
    return f"{sentence}; {never} in {rows} rows)."


def _saturated(edge: Edge, slopes: Array) -> str:
    """How many entries lie where the function is flat, for gates that say that they saturate."""
    op, node = edge.target.definition, edge.target
    if "saturated" not in op.gate:
        return ""
    rule = pull_rule(op, edge.argument)
    if rule is None:
        return ""
    pull, names = rule
    zero = np.zeros(())
    given = [op.value(NUMPY, zero, **node.params) if name == "out" else zero for name in names]
    steepest = float(pull(NUMPY, np.ones(()), *given, **node.params))
    share = float(np.mean(np.abs(slopes) < _FLAT * steepest))
    return f" ({figures.digits(steepest)} at the steepest; {figures.percent(share)} of the entries are saturated)"


def _by_norm(edge: Edge, upstream: Array, downstream: Array) -> str:
    name = edge.source.name
    if downstream.ndim == 0 or downstream.size <= 4:
        return f"It handed {figures.array(downstream)} down to `{name}`."
    reached = ""
    if edge.target.gate.startswith("routes"):
        count = int(np.count_nonzero(downstream))
        reached = f", to {count} of its {downstream.size} entries"
    return f"It handed a gradient down to `{name}`{reached}: {_factor(_norm(downstream), _norm(upstream))}."


def _factor(out: float, into: float) -> str:
    """``norm 0.12 became 0.03, a factor of 0.25``."""
    became = f"norm {figures.digits(into, 3)} became {figures.digits(out, 3)}"
    return f"{became}, a factor of {figures.digits(out / into, 3)}" if into and math.isfinite(into) else became


def _norm(array: Any) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64)))


def _amount(kept: Kept) -> str:
    if kept.shape == () or (kept.array is not None and kept.array.size <= 4):
        return figures.kept(kept, "")
    norm = kept.statistics.norm if kept.array is None else _norm(kept.array)
    return f"{figures.shape(kept.shape)} numbers of norm {figures.digits(norm, 3)}"


def _listed(parts: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
