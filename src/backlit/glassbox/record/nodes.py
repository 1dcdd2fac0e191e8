"""The nodes and edges of a record: one node for each value, one edge for each use of a value by an operation."""

from __future__ import annotations

from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RecordError
from ...ops.elementwise import Elementwise
from ...source import Source, resolve
from .capture import module_path
from .entries import Entry, Pass
from .local import Local
from .naming import place_of
from .numbers import Kept, Statistics

if TYPE_CHECKING:
    from .model import Record

Array = NDArray[Any]


class RecordNode:
    """A value in a record: a leaf, or the result of an operation.

    ``kind`` is ``"parameter"``, ``"variable"`` (a leaf that requires gradients), ``"constant"`` or ``"operation"``.
    Everything about gradients is of the pass that the record shows.
    """

    __slots__ = ("__dict__", "_entry", "_record", "id")

    def __init__(self, record: Record, entry: Entry, number: int) -> None:
        self._record = record
        self._entry = entry
        self.id = number

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        return f"<{self.name}: {self.op or self.kind} {shape}>"

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """See the class."""
        return self._entry.kind

    @property
    def name(self) -> str:
        """The user's name for it (parameter path, variable), or one made from the operation; unique in the record."""
        assert self._entry.name is not None
        return self._entry.name

    @property
    def definition(self) -> Any:
        """The operation's definition, an ``Op`` class; None for leaves."""
        return self._entry.op

    @property
    def op(self) -> str | None:
        """The operation's name, such as ``matmul``; None for leaves."""
        return None if self._entry.op is None else self._entry.op.name

    @property
    def params(self) -> dict[str, Any]:
        """The operation's settings."""
        return self._entry.params

    @property
    def extra(self) -> Any:
        """What the operation keeps for its rules beside inputs and output, such as a dropout mask."""
        return self._entry.extra

    @property
    def formula(self) -> str:
        """The operation as a formula."""
        return "" if self._entry.op is None else self._entry.op.formula

    @property
    def gate(self) -> str:
        """What the operation does to gradients: distributes, swaps, routes …"""
        return "" if self._entry.op is None else self._entry.op.gate

    @property
    def domain(self) -> str:
        """Where the operation is defined and differentiable."""
        return "" if self._entry.op is None else self._entry.op.domain

    @cached_property
    def source(self) -> Source | None:
        """The user's line that applied the operation, or that first used the leaf."""
        return self._entry.source if self._entry.source is not None else resolve(self._entry.mark)

    @cached_property
    def expression(self) -> str | None:
        """The part of that line that computed the value, such as ``x @ w``, where it is known."""
        if self._entry.expression is not None or self._entry.op is None:
            return self._entry.expression
        place = place_of(self._entry.mark)
        return None if place is None else place.text

    @property
    def span(self) -> tuple[int, int] | None:
        """Where :attr:`expression` stands in a formula: its first character and the one after; None in programs."""
        return self._entry.span

    @cached_property
    def module(self) -> str:
        """The path of the module that applied the operation, such as ``net.layers.0``; empty outside modules."""
        return self._entry.module if self._entry.module is not None else module_path(self._entry)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along each dimension."""
        return self._entry.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return np.dtype(self._entry.dtype)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients reach this value at all."""
        return self._entry.requires_grad

    @property
    def saved(self) -> tuple[str, ...]:
        """What the operation kept for its backward rules: names of its inputs, ``out``, ``extra``."""
        return self._entry.saved

    @property
    def saved_bytes(self) -> int:
        """How many bytes those are."""
        return self._entry.saved_bytes

    @property
    def phase(self) -> str:
        """``"forward"``; ``"backward"`` for operations of a recorded backward pass (``create_graph=True``);
        ``"inside"`` for what the ``forward`` of an own operation did within, which the graph does not see."""
        return "inside" if self._entry.inside else "forward" if self._entry.walk is None else "backward"

    # -- numbers --------------------------------------------------------------------------------------------------

    @property
    def value(self) -> Array | None:
        """The array; None where only statistics were kept, or the value is no longer known."""
        return None if self._entry.kept is None else self._entry.kept.array

    @property
    def value_stats(self) -> Statistics | None:
        """Extremes, mean, norm … of the value; None where it is no longer known."""
        return None if self._entry.kept is None else self._entry.kept.statistics

    @property
    def value_kept(self) -> Kept | None:
        """The value as it was kept: an array or only its statistics; None where it is no longer known."""
        return self._entry.kept

    @property
    def upstream(self) -> Array | None:
        """The gradient of the result with respect to this value: the sum of all contributions; None where none came."""
        kept = self.upstream_kept
        return None if kept is None else kept.array

    @property
    def upstream_stats(self) -> Statistics | None:
        """Statistics of the upstream gradient."""
        kept = self.upstream_kept
        return None if kept is None else kept.statistics

    @cached_property
    def upstream_kept(self) -> Kept | None:
        """The upstream gradient as it was kept: an array or only its statistics."""
        walked = self._record._pass
        if walked is None:
            return None
        kept = walked.upstream.get(self.id) or walked.leaves.get(self.id)
        return kept if kept is not None else self._summed(walked)

    def _summed(self, walked: Pass) -> Kept | None:
        """A leaf's gradient in this pass: its contributions added up."""
        given = (walked.seeds.get(self.id), *(edge.downstream_kept for edge in self.terms))
        parts = [kept for kept in given if kept is not None]
        if len(parts) == 1:
            return parts[0]
        arrays = [kept.array for kept in parts if kept.array is not None]
        return Kept(np.asarray(reduce(np.add, arrays))) if arrays and len(arrays) == len(parts) else None

    @property
    def seed(self) -> Array | None:
        """The gradient that the backward pass started with here; None where it did not start here."""
        kept = None if self._record._pass is None else self._record._pass.seeds.get(self.id)
        return None if kept is None else kept.array

    @property
    def grad_before(self) -> Array | None:
        """What a leaf's ``.grad`` was before the pass; None if nothing."""
        return self._of_leaf("before")

    @property
    def grad(self) -> Array | None:
        """What a leaf's ``.grad`` was after the pass: :attr:`grad_before` plus this pass's gradient."""
        return self._of_leaf("after")

    def _of_leaf(self, which: str) -> Array | None:
        kept = None if self._record._pass is None else getattr(self._record._pass, which).get(self.id)
        return None if kept is None else kept.array

    def known_value(self) -> Array:
        """The value, or a clear error where the record does not hold it.

        Raises:
            RecordError: only statistics were kept, or a constant was gone when the record was made.
        """
        if self.value is None:
            why = (
                "its value was no longer known when the record was made; record the forward pass with bl.record()"
                if self._entry.kept is None
                else "only statistics were kept; record with keep='all'"
            )
            raise RecordError(f"{self.name}: {why}.")
        return self.value

    def input_values(self) -> list[Any]:
        """The values of the inputs as the operation was given them: arrays, Python numbers, None where left out."""
        values: list[Any] = []
        for number in self._entry.inputs:
            node = None if number is None else self._record.nodes[number]
            value = None if node is None else node.known_value()
            values.append(value.item() if node is not None and node._entry.weak and value is not None else value)
        return values

    # -- neighbours -----------------------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> tuple[Edge, ...]:
        """The edges from what the operation was applied to, in order."""
        nodes = self._record.nodes
        return tuple(Edge(nodes[n], self, i) for i, n in enumerate(self._entry.inputs) if n is not None)

    @property
    def users(self) -> tuple[Edge, ...]:
        """The edges to the operations that used the value, in order."""
        return self._record._users.get(self.id, ())

    @property
    def terms(self) -> tuple[Edge, ...]:
        """The edges along which gradient came back: the terms of the sum at this join."""
        return tuple(edge for edge in self.users if edge.downstream_kept is not None)

    @property
    def local(self) -> tuple[Local | None, ...]:
        """The local gradient of each input edge; None for inputs without gradient."""
        return tuple(edge.local if edge.differentiable else None for edge in self.inputs)

    @property
    def downstream(self) -> tuple[Array | None, ...]:
        """What the operation handed down to each input; None for inputs without gradient."""
        return tuple(edge.downstream for edge in self.inputs)


class Edge:
    """One use of a value by an operation: forward the value flows from ``source`` to ``target``, backward a
    contribution to the gradient from ``target`` to ``source``."""

    __slots__ = ("__dict__", "position", "source", "target")

    def __init__(self, source: RecordNode, target: RecordNode, position: int) -> None:
        self.source = source
        self.target = target
        self.position = position

    def __repr__(self) -> str:
        return f"<{self.source.name} → {self.target.name} as {self.argument}>"

    @property
    def argument(self) -> str:
        """What the operation's definition calls this input."""
        names = self.target.definition.inputs
        return names[min(self.position, len(names) - 1)] if names else f"argument {self.position}"

    @property
    def differentiable(self) -> bool:
        """Whether gradient flows along this edge."""
        return self.source.requires_grad and self.target.requires_grad

    @cached_property
    def local(self) -> Local:
        """∂target/∂source, as the operation alone has it.

        Raises:
            RecordError: no gradient flows along this edge.
        """
        if not self.differentiable:
            raise RecordError(f"{self.target.name} has no gradient with respect to the constant {self.source.name}.")
        return Local(self)

    @property
    def downstream_kept(self) -> Kept | None:
        """The contribution as it was kept: an array or only its statistics."""
        walked = self.target._record._pass
        return None if walked is None else walked.downstream.get((self.target.id, self.position))

    @property
    def downstream(self) -> Array | None:
        """The contribution that the operation handed down along this edge, in the input's shape; None if none."""
        kept = self.downstream_kept
        return None if kept is None else kept.array

    @property
    def downstream_stats(self) -> Statistics | None:
        """Statistics of the contribution."""
        kept = self.downstream_kept
        return None if kept is None else kept.statistics

    @property
    def summed_axes(self) -> tuple[int, ...]:
        """Axes of the output along which the input was broadcast, and its contribution therefore summed."""
        if not issubclass(self.target.definition, Elementwise):
            return ()
        out, own = self.target.shape, self.source.shape
        lead = len(out) - len(own)
        stretched = (i + lead for i, n in enumerate(own) if n == 1 and out[i + lead] != 1)
        return (*range(lead), *stretched)
