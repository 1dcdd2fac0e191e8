"""A record as tables: the forward pass, the local gradients, the backward pass; large records module by module."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...errors import BacklitError, RecordError
from ...function import _Own
from ...spelling import did_you_mean
from ..record.model import Edge, Record, RecordNode
from . import figures

MOST = 40
"""Records of more operations are shown module by module, or by their first and last ones."""
_WIDTH = 118
_SHOWN = 6
"""Arrays with more entries would break the columns."""


class Tables:
    """The tables of a record: coloured where ``rich`` prints them in a terminal, plain as text.

    Args:
        rec: the record.
        module: only what happened inside this module.
        full: every operation, however many.

    Raises:
        RecordError: nothing was computed in that module.
    """

    def __init__(self, rec: Record, module: str | None = None, full: bool = False) -> None:
        self._rec, self._module = rec, module
        self._operations = _operations(rec, module)
        self._shortened = len(self._operations) > MOST and not full

    def __rich__(self) -> Group:
        return Group(*self._parts())

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False, legacy_windows=False)
        console.print(self.__rich__())
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in lines).rstrip()

    __repr__ = __str__

    def _parts(self) -> Iterator[RenderableType]:
        operations = self._operations
        yield Text(_head(self._rec, operations), style="bold")
        if self._shortened:
            modules = _modules(operations, self._module)
            if len(modules) > 1:
                yield _by_module(modules)
                yield Text(_hint(modules), style="dim")
                return
            yield Text(f"The first and the last {MOST // 2} of {len(operations)} operations; {_ALL}", style="dim")
            operations = [*operations[: MOST // 2], *operations[-MOST // 2 :]]
        yield from (_forward(operations), _local(operations), _backward(operations))


_ALL = "print(rec.tables(full=True)) shows all of them."


def _operations(rec: Record, module: str | None) -> list[RecordNode]:
    every = [node for node in rec.operations if node.phase == "forward"]
    if module is None:
        return every
    found = [node for node in every if _inside(node.module, module)]
    if not found:
        known = list(dict.fromkeys(node.module for node in every if node.module))
        hint = did_you_mean(module, known) or f"; there are {', '.join(known[:12]) or 'none'}"
        raise RecordError(f"tables: nothing was computed in a module {module!r}{hint}.")
    return found


def _inside(path: str, module: str) -> bool:
    """Whether a module path lies in a module, with or without the name of the whole network."""
    return f"{path}.".startswith(f"{module}.") or f"{path.partition('.')[2]}.".startswith(f"{module}.")


def _head(rec: Record, operations: list[RecordNode]) -> str:
    title = rec.title or ", ".join(f"{root.name} = {_value(root)}" for root in rec.roots)
    passes = f"; pass {rec._shown % len(rec.passes) + 1} of {len(rec.passes)}" if len(rec.passes) > 1 else ""
    counts = _count(len(operations), "operation"), "1 leaf" if len(rec.leaves) == 1 else f"{len(rec.leaves)} leaves"
    return f"{title}: {', '.join(counts)}{passes}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _forward(operations: list[RecordNode]) -> Table:
    """Leaves that the operations use, and each operation with its value."""
    table = _table("Forward pass", "value of", "computed by", "shape", "value")
    shown = {edge.source.id: edge.source for node in operations for edge in node.inputs if edge.source.op is None}
    for leaf in shown.values():
        table.add_row(*_cells(leaf.name, leaf.kind, figures.shape(leaf.shape), _value(leaf)))
    places = Counter(node.expression for node in operations)
    for node in operations:
        own = node.expression if places[node.expression] == 1 else None  # else the line of a call to a module
        computed = own or f"{node.op}({', '.join(e.source.name for e in node.inputs)})"
        table.add_row(*_cells(node.name, computed, figures.shape(node.shape), _value(node)))
    return table


def _local(operations: list[RecordNode]) -> Table:
    """∂output/∂input of each operation."""
    table = _table("Local gradients", "of", "local gradient", "is")
    for node in operations:
        for edge in node.inputs:
            if edge.differentiable:
                table.add_row(*_cells(node.name, f"∂{node.name}/∂{edge.source.name}", _slopes(edge)))
    return table


def _slopes(edge: Edge) -> str:
    local = edge.local
    try:
        if local.kind == "scalar" or (local.kind == "diagonal" and local.value is not None):
            return _brief(local.value) + (" on the diagonal" if local.kind == "diagonal" else "")
        small = local.kind == "matrix" and local.value is not None and local.value.size <= _SHOWN
        return _brief(local.value) if small else _jacobian(edge)
    except BacklitError:
        own = issubclass(edge.target.definition, _Own)
        if own:
            return "known to its author only"
        what = f"diagonal of {figures.shape(local.edge.target.shape)}" if local.kind == "diagonal" else _jacobian(edge)
        return "not kept" if local.kind == "scalar" else f"{what}, its numbers not kept"


def _jacobian(edge: Edge) -> str:
    return f"Jacobian ({figures.shape(edge.target.shape)}) × ({figures.shape(edge.source.shape)})"


def _backward(operations: list[RecordNode]) -> Table:
    """From the result back: what arrived at each value, and what was handed down."""
    table = _table("Backward pass", "at", "upstream gradient", "hands down", "gate")
    for node in reversed(operations):
        if node.upstream_kept is not None:
            down = "\n".join(f"{_down(edge)} → {edge.source.name}" for edge in node.inputs if edge.downstream_kept)
            table.add_row(*_cells(node.name, _upstream(node), down, _first_words(node.gate)))
    for leaf in {e.source.id: e.source for n in operations for e in n.inputs if e.source.op is None}.values():
        if leaf.upstream_kept is not None:
            table.add_row(*_cells(leaf.name, _upstream(leaf), _into_grad(leaf), leaf.kind))
    return table


def _first_words(gate: str) -> str:
    """The verb of a gate, without the detail."""
    for mark in (":", ";", ",", " the upstream", " by "):
        gate = gate.partition(mark)[0]
    return gate


def _cells(*texts: str) -> Iterable[Text]:
    return (Text(text) for text in texts)


def _brief(array: Any) -> str:
    return figures.array(array, most=_SHOWN)


def _value(node: RecordNode) -> str:
    return figures.kept(node.value_kept, "unknown", most=_SHOWN)


def _upstream(node: RecordNode) -> str:
    return figures.kept(node.upstream_kept, "not kept", most=_SHOWN)


def _down(edge: Edge) -> str:
    return figures.kept(edge.downstream_kept, "not kept", most=_SHOWN)


def _into_grad(leaf: RecordNode) -> str:
    walked = leaf._record._pass
    if walked is None or walked.after.get(leaf.id) is None:
        return ""
    before = walked.before.get(leaf.id)
    return ".grad" if before is None else f".grad, which held {figures.kept(before, '', most=_SHOWN)}"


# -- module by module ------------------------------------------------------------------------------------------------


def _modules(operations: list[RecordNode], within: str | None) -> dict[str, list[RecordNode]]:
    """The operations by the module one level down (or as many levels as it takes to tell them apart)."""
    depth = 0 if within is None else within.count(".") + 1
    found: dict[str, list[RecordNode]] = {}
    for level in range(depth + 1, depth + 5):
        found = {}
        for node in operations:
            found.setdefault(".".join(node.module.split(".")[:level]), []).append(node)
        if len(found) > 2:
            break
    return found


def _by_module(modules: dict[str, list[RecordNode]]) -> Table:
    table = _table("By module", "module", "operations", "last value", "gradient arriving", "gradient leaving")
    for name, nodes in modules.items():
        members = {node.id for node in nodes}
        leaving = [e for n in nodes for e in n.inputs if e.source.id not in members and e.downstream_kept]
        parameters = [e for e in leaving if e.source.kind == "parameter"]
        others = [e for e in leaving if e.source.op is not None]
        last = nodes[-1]
        arriving = "none" if last.upstream_stats is None else f"norm {figures.digits(last.upstream_stats.norm, 3)}"
        left = ", ".join(part for part in (_norms("back", others), _norms("parameters", parameters)) if part)
        size = f"{figures.shape(last.shape)}" if last.shape else _value(last)
        table.add_row(*_cells(name or "(outside modules)", str(len(nodes)), size, arriving, left or "none"))
    return table


def _norms(what: str, edges: list[Edge]) -> str:
    norms = [edge.downstream_stats.norm for edge in edges if edge.downstream_stats is not None]
    return f"{what} {figures.digits(sum(n * n for n in norms) ** 0.5, 3)}" if norms else ""


def _hint(modules: dict[str, list[RecordNode]]) -> str:
    inner = next((name for name in modules if name), "")
    return f"Inside a module: print(rec.tables({inner!r})). {_ALL[:-1]}, one by one: rec.explain(name)."
