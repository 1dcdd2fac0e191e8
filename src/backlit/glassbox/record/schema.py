"""A record as JSON; docs/record.md describes it. ``FORMAT`` and ``VERSION`` stand at the head of every file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import BacklitError, RecordError
from .capture import is_own
from .checked import FAULTS
from .local import Local
from .model import Edge, Record, RecordNode
from .numbers import Kept
from .settings import Lost, Store, definition_name, definitions, encode

FORMAT, VERSION = "backlit-record", 1
MATRIX = 256
"""Jacobians with up to this many entries are written out in a page."""

Numbers = Callable[[Kept], dict[str, Any]]
"""How an array is written: inline for a page, by a key for a file."""


def to_dict(rec: Record, numbers: Numbers = Kept.to_dict, store: Store | None = None) -> dict[str, Any]:
    """Everything a record holds, as dictionaries, lists, texts and numbers.

    Args:
        rec: the record.
        numbers: how arrays are written; inline, as far as a page can show them, where it is left out.
        store: takes the arrays among settings; given for files, which also hold what a rerun needs.
    """
    from ... import __version__
    from ..notes import notes

    out = {
        "format": FORMAT,
        "version": VERSION,
        "backlit": __version__,
        "title": rec.title,
        "keep": rec.keep,
        "nodes": [_node(node, numbers, store) for node in rec.nodes],
        "passes": [_pass(rec, i, numbers, store is None) for i in range(len(rec.passes))],
    }
    if store is None:
        out["notes"] = notes(rec)
    return out


def statistics_only(kept: Kept) -> dict[str, Any]:
    """An array by shape, dtype and statistics."""
    return {"shape": list(kept.shape), "dtype": kept.dtype.name, "stats": kept.statistics.to_dict()}


def _node(node: RecordNode, numbers: Numbers, store: Store | None) -> dict[str, Any]:
    entry = node._entry
    out = {
        "id": node.id,
        "kind": node.kind,
        "name": node.name,
        "op": node.op,
        "own": is_own(node.definition),
        "formula": node.formula,
        "gate": node.gate,
        "domain": node.domain,
        "expression": node.expression,
        "span": None if node.span is None else list(node.span),
        "source": None if node.source is None else node.source._asdict(),
        "module": node.module,
        "phase": node.phase,
        "shape": list(node.shape),
        "dtype": node.dtype.name,
        "requires_grad": node.requires_grad,
        "saved_bytes": node.saved_bytes,
        "saved": list(node.saved),
        "number": entry.weak,
        "value": None if entry.kept is None else numbers(entry.kept),
        "inputs": [{"node": e.source.id, "argument": e.argument, "position": e.position} for e in node.inputs],
    }
    if store is None:
        out["params"] = _readable(node)
    else:
        out |= _rerunnable(node, store)
    return out


def _readable(node: RecordNode) -> dict[str, str]:
    """Settings as texts for people."""
    if is_own(node.definition):
        return {}
    return {name: str(value) for name, value in node.params.items() if value is not None}


def _rerunnable(node: RecordNode, store: Store) -> dict[str, Any]:
    """What a rerun needs: the definition, its settings and what its rules keep."""
    entry = node._entry
    out: dict[str, Any] = {"walk": entry.walk}
    if entry.op is None:
        return out
    out["left_out"] = [i for i, number in enumerate(entry.inputs) if number is None]
    name = definition_name(entry.op)
    if is_own(entry.op):
        given = {key: entry.params.get(key, {}) for key in ("fixed", "kwargs")}
        settings = {key: {k: _kept_or_lost(v, store) for k, v in values.items()} for key, values in given.items()}
        return out | {"definition": None, "settings": encode(settings, store), "extra": None}
    known = name if name in definitions() else None
    return out | {"definition": known, "settings": encode(entry.params, store), "extra": encode(entry.extra, store)}


def _kept_or_lost(value: Any, store: Store) -> Any:
    """An argument of a user's own operation, or a mark where only its author's program can make it again."""
    try:
        encode(value, store)
    except RecordError:
        return Lost(type(value).__name__)
    return value


def _pass(rec: Record, number: int, numbers: Numbers, locals_too: bool) -> dict[str, Any]:
    walked = rec.passes[number]
    reached = {**walked.upstream, **_leaf_gradients(rec, number)}
    edges = [_edge(_edge_at(rec, *place), kept, numbers, locals_too) for place, kept in walked.downstream.items()]
    return {
        "roots": [{"node": n, "seed": numbers(kept)} for n, kept in walked.seeds.items()],
        "nodes": [{"node": n, "upstream": numbers(kept)} for n, kept in reached.items()],
        "edges": edges,
        "leaves": [
            {"node": n, "before": _maybe(walked.before[n], numbers), "after": _maybe(walked.after.get(n), numbers)}
            for n in walked.before
        ],
    }


def _leaf_gradients(rec: Record, number: int) -> dict[int, Kept]:
    """What arrived at leaves; where the walk did not add it up, the sum of the contributions."""
    walked = rec.passes[number]
    ends = {*walked.seeds, *(rec._entries[n].inputs[position] for n, position in walked.downstream)}
    missing = {n for n in ends if n is not None and rec._entries[n].op is None} - walked.leaves.keys()
    shown = rec.of_pass(number) if missing else rec
    sums = {n: shown.nodes[n].upstream_kept for n in sorted(missing)}
    return {**walked.leaves, **{n: kept for n, kept in sums.items() if kept is not None}}


def _edge_at(rec: Record, number: int, position: int) -> Edge:
    return next(edge for edge in rec.nodes[number].inputs if edge.position == position)


def _edge(edge: Edge, downstream: Kept, numbers: Numbers, locals_too: bool) -> dict[str, Any]:
    out = {
        "node": edge.target.id,
        "position": edge.position,
        "downstream": numbers(downstream),
        "summed_axes": list(edge.summed_axes),
    }
    if locals_too:
        out["local"] = _local(edge, numbers)
    return out


def _local(edge: Edge, numbers: Numbers) -> dict[str, Any] | None:
    """The local gradient, where the record holds what it takes to know it."""
    local = Local(edge)
    try:
        small = local.kind in ("scalar", "diagonal") or _entries(local) <= MATRIX
        value = numbers(Kept(local.value)) if small and local.value is not None else None
        kind = local.kind if small else "implicit"
        return {"kind": kind, "text": local.describe(), "value": value, "rule": _rule(edge)}
    except (BacklitError, *FAULTS) as error:
        return {"kind": "unknown", "text": str(error), "value": None, "rule": None}


def _rule(edge: Edge) -> dict[str, Any] | None:
    """What the operation does to δ, the upstream gradient, as a formula; between numbers the number says it."""
    if edge.target.shape == edge.source.shape == ():
        return None
    from ..words.rule import rule

    found = rule(edge)
    return found and {**found._asdict(), "meanings": list(found.meanings)}


def _entries(local: Local) -> int:
    count = 1
    for n in local.shape:
        count *= n
    return count


def _maybe(kept: Kept | None, numbers: Numbers) -> dict[str, Any] | None:
    return None if kept is None else numbers(kept)


__all__ = ["FORMAT", "VERSION", "statistics_only", "to_dict"]
