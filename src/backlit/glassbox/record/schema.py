"""A record as JSON; docs/record.md describes it. ``FORMAT`` and ``VERSION`` stand at the head of every file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...function import _Pick
from .capture import is_own
from .entries import Pass
from .local import Local
from .model import Edge, Record, RecordNode
from .numbers import Kept, plain
from .settings import Store, definition_name, encode

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

    return {
        "format": FORMAT,
        "version": VERSION,
        "backlit": __version__,
        "title": rec.title,
        "keep": rec.keep,
        "nodes": [_node(node, numbers, store) for node in rec.nodes],
        "passes": [_pass(rec.of_pass(i), p, numbers, store is None) for i, p in enumerate(rec.passes)],
    }


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
    if node.definition is None:
        return {}
    if is_own(node.definition):
        given = {str(i): value for i, value in node.params.get("fixed", {}).items()}
        settings = {"fixed": _encoded(given, store), "kwargs": _encoded(node.params.get("kwargs", {}), store)}
        return {"definition": None, "settings": settings, "extra": None}
    if node.definition is _Pick:
        return {"definition": "output", "settings": encode(node.params, store), "extra": None}
    settings = encode(node.params, store)
    return {
        "definition": definition_name(node.definition),
        "settings": settings,
        "extra": encode(node.extra, store),
        "arity": len(node._entry.inputs),
    }


def _encoded(values: dict[str, Any], store: Store) -> Any:
    """Arguments of a user's own operation, those left out that only its author's program can make again."""
    from ...errors import RecordError

    out = {}
    for name, value in values.items():
        try:
            out[name] = encode(value, store)
        except RecordError:
            continue
    return out


def _pass(rec: Record, walked: Pass, numbers: Numbers, locals_too: bool) -> dict[str, Any]:
    reached = [*rec.walked, *(leaf for leaf in rec.leaves if leaf.upstream_kept is not None)]
    edges = [edge for node in reached for edge in node.inputs if edge.downstream_kept is not None]
    return {
        "roots": [{"node": number, "seed": numbers(kept)} for number, kept in walked.seeds.items()],
        "nodes": [{"node": node.id, "upstream": numbers(node.upstream_kept)} for node in reached if node.upstream_kept],
        "edges": [_edge(edge, numbers, locals_too) for edge in edges],
        "leaves": [
            {"node": n, "before": _maybe(walked.before[n], numbers), "after": _maybe(walked.after.get(n), numbers)}
            for n in walked.before
        ],
    }


def _edge(edge: Edge, numbers: Numbers, locals_too: bool) -> dict[str, Any]:
    assert edge.downstream_kept is not None
    out = {
        "node": edge.target.id,
        "position": edge.position,
        "downstream": numbers(edge.downstream_kept),
        "summed_axes": list(edge.summed_axes),
    }
    if locals_too:
        out["local"] = _local(edge, numbers)
    return out


def _local(edge: Edge, numbers: Numbers) -> dict[str, Any] | None:
    """The local gradient, where the record holds what it takes to know it."""
    from ...errors import BacklitError

    local = Local(edge)
    try:
        small = local.kind in ("scalar", "diagonal") or _entries(local) <= MATRIX
        value = numbers(Kept(local.value)) if small and local.value is not None else None
        return {"kind": local.kind if small else "implicit", "text": local.describe(), "value": value}
    except BacklitError as error:
        return {"kind": "unknown", "text": str(error), "value": None}


def _entries(local: Local) -> int:
    count = 1
    for n in local.shape:
        count *= n
    return count


def _maybe(kept: Kept | None, numbers: Numbers) -> dict[str, Any] | None:
    return None if kept is None else numbers(kept)


__all__ = ["FORMAT", "VERSION", "plain", "to_dict"]
