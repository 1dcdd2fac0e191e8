"""The record: a complete account of a computation and of its backward pass, to be asked and navigated.

A :class:`Record` has one :class:`RecordNode` for each value, leaves and results of operations alike, in the order in
which they came about, and one :class:`Edge` for each use of a value by an operation. Gradients belong to a pass: the
reverse walk that produced them. A record with several passes shows the last one; :meth:`Record.of_pass` shows another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from ...errors import RecordError
from ...spelling import did_you_mean
from .entries import Entry, Pass
from .nodes import Edge, RecordNode
from .views import Views


class Record(Views):
    """A complete account of a computation and its backward pass; made by ``bl.explain`` and ``bl.record``.

    >>> import backlit as bl
    >>> x, y, z = (bl.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> q = x + y
    >>> rec = bl.explain(q * z)
    >>> rec.node("q").upstream, rec.node("x").upstream
    (array(-4., dtype=float32), array(-4., dtype=float32))
    """

    def __init__(
        self, entries: Sequence[Entry], passes: Sequence[Pass], keep: str = "all", title: str = "", shown: int = -1
    ) -> None:
        self._entries = entries
        self.keep = keep
        self.title = title
        self._shown = shown
        self._all = passes
        self._pass: Pass | None = passes[shown] if passes else None
        self.nodes: list[RecordNode] = [RecordNode(self, entry, i) for i, entry in enumerate(entries)]
        self._names = {node.name: node for node in self.nodes}

    def __repr__(self) -> str:
        count = sum(node.kind == "operation" for node in self.nodes)
        return f"<Record: {count} operations, {len(self.nodes) - count} leaves, {len(self.passes)} backward>"

    @cached_property
    def _users(self) -> dict[int, tuple[Edge, ...]]:
        users: dict[int, list[Edge]] = {}
        for node in self.nodes:
            for edge in node.inputs:
                users.setdefault(edge.source.id, []).append(edge)
        return {number: tuple(edges) for number, edges in users.items()}

    # -- passes -----------------------------------------------------------------------------------------------------

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The reverse walks, in order."""
        return tuple(self._all)

    def of_pass(self, number: int) -> Record:
        """The same record, showing the gradients of another pass (counted from 0; negative from the end).

        Raises:
            RecordError: there is no such pass.
        """
        if not -len(self._all) <= number < len(self._all):
            raise RecordError(f"pass {number}: the record has {len(self._all)} backward passes, counted from 0.")
        other = type(self)(self._entries, self._all, self.keep, self.title, number)
        other._number_of = self._number_of
        return other

    @property
    def roots(self) -> tuple[RecordNode, ...]:
        """Where the backward pass started; without one, the results that nothing else used."""
        if self._pass is not None:
            return tuple(self.nodes[number] for number in self._pass.seeds)
        return tuple(node for node in self.nodes if node.kind == "operation" and not node.users)

    @property
    def leaves(self) -> tuple[RecordNode, ...]:
        """Parameters, variables and constants."""
        return tuple(node for node in self.nodes if node.kind != "operation")

    @property
    def operations(self) -> tuple[RecordNode, ...]:
        """The results of operations, in the order in which they were applied."""
        return tuple(node for node in self.nodes if node.kind == "operation")

    @property
    def walked(self) -> tuple[RecordNode, ...]:
        """The nodes that the backward pass went through, in its order; leaves not included."""
        return () if self._pass is None else tuple(self.nodes[number] for number in self._pass.upstream)

    # -- looking for nodes --------------------------------------------------------------------------------------

    def node(self, which: str | int | RecordNode | Any) -> RecordNode:
        """A node by its name, its number, or the tensor it stands for.

        Raises:
            RecordError: there is no such node; near matches are named.
        """
        if isinstance(which, RecordNode):
            return self.nodes[which.id]
        if isinstance(which, int):
            if not -len(self.nodes) <= which < len(self.nodes):
                raise RecordError(f"node {which}: the record has {len(self.nodes)} nodes, counted from 0.")
            return self.nodes[which]
        if isinstance(which, str):
            return self._named(which)
        number = None if self._number_of is None else self._number_of(which)
        if number is None:
            number = next((n.id for n in self.nodes if n._entry.tensor is which), None)
        if number is None:
            raise RecordError("this tensor does not occur in the record.")
        return self.nodes[number]

    _number_of: Callable[[Any], int | None] | None = None
    """Finds the tensors of the program that was recorded; records from files know none, reruns the leaves."""

    def _named(self, name: str) -> RecordNode:
        found = self._names.get(name)
        if found is None:
            found = self._names.get(name.partition(".")[2])  # net.layers.0.weight for layers.0.weight
        if found is None:
            hint = did_you_mean(name, self._names)
            some = ", ".join(list(self._names)[:12])
            raise RecordError(f"no node is called {name!r}{hint or f'; there are {some} …'}")
        return found

    def find(
        self,
        *,
        op: str | None = None,
        module: str | None = None,
        name: str | None = None,
        kind: str | None = None,
        where: Callable[[RecordNode], bool] | None = None,
    ) -> list[RecordNode]:
        """All nodes that fit everything given.

        Args:
            op: the operation's name.
            module: a module path; nodes inside it count too.
            name: a part of the node's name.
            kind: parameter, variable, constant or operation.
            where: any condition.
        """
        return [
            node
            for node in self.nodes
            if (op is None or node.op == op)
            and (module is None or f"{node.module}.".startswith(f"{module}."))
            and (name is None or name in node.name)
            and (kind is None or node.kind == kind)
            and (where is None or where(node))
        ]

    @overload
    def path(self, a: Any, b: Any) -> list[RecordNode]: ...
    @overload
    def path(self, a: Any, b: Any, every: bool) -> Any: ...
    def path(self, a: Any, b: Any, every: bool = False) -> Any:
        """The nodes from ``a`` forward to ``b`` along one shortest path, both included; empty if there is none.

        Args:
            a, b: nodes, names or numbers.
            every: an iterator over all paths instead; there can be very many.
        """
        start, goal = self.node(a), self.node(b)
        if every:
            return self._paths(start, goal)
        came: dict[int, int | None] = {start.id: None}
        queue = [start]
        for node in queue:
            if node is goal:
                break
            for edge in node.users:
                if edge.target.id not in came:
                    came[edge.target.id] = node.id
                    queue.append(edge.target)
        if goal.id not in came:
            return []
        found: list[RecordNode] = []
        number: int | None = goal.id
        while number is not None:
            found.append(self.nodes[number])
            number = came[number]
        return found[::-1]

    def _paths(self, start: RecordNode, goal: RecordNode) -> Iterator[list[RecordNode]]:
        stack = [[start]]
        while stack:
            path = stack.pop()
            if path[-1] is goal:
                yield path
                continue
            stack += [[*path, edge.target] for edge in reversed(path[-1].users) if edge.target.id <= goal.id]

    @property
    def nbytes(self) -> int:
        """How much memory the record's arrays take."""
        arrays: dict[int, int] = {}
        kept = [entry.kept for entry in self._entries]
        for walked in self._all:
            parts = (walked.upstream, walked.downstream, walked.leaves, walked.before, walked.after, walked.seeds)
            kept += [k for part in parts for k in part.values()]  # type: ignore[attr-defined]
        for item in kept:
            if item is not None and item.array is not None:
                arrays[id(item.array)] = math.prod(item.shape) * item.dtype.itemsize
        return sum(arrays.values())


__all__ = ["Edge", "Record", "RecordNode"]
