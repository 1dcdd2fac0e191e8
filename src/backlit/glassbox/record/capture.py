"""Watching a computation: the observer of the forward pass and of the reverse walk that a record is made from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ...function import _Own, _Part, _Pick
from ...graph import Node, WalkObserver, mode
from ...nn.parameter import Parameter
from ...ops.definition import ABSENT
from ...source import Mark, mark
from ...tensor import Tensor
from .entries import Entry, Pass
from .numbers import Kept
from .retrace import GONE, Retraced, retrace


class Brief(NamedTuple):
    """What a ``keep`` filter is asked about: an operation's ``op`` (None for a leaf), ``module`` path and result."""

    op: str | None
    module: str
    shape: tuple[int, ...]
    dtype: Any
    nbytes: int


Keep = Literal["all", "stats"] | Callable[[Brief], bool]


_VALUES = (Tensor, np.ndarray, np.generic, int, float)


class Capture(WalkObserver):
    """Writes down every operation as it is applied and every gradient as it is handed down.

    Arrays are copied, because later writes (an optimizer's step) would change them; ``keep`` decides which are held and
    of which only statistics are.
    """

    def __init__(self, keep: Keep = "all") -> None:
        self.keep = keep
        self.entries: list[Entry] = []
        self.passes: list[Pass] = []
        self._walking = False
        self._by_node: dict[int, int] = {}
        self._by_tensor: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        self._copies: dict[int, tuple[Any, Kept]] = {}
        self._totals: dict[int, Any] = {}

    # -- the forward pass ---------------------------------------------------------------------------------------

    def applied(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor) -> None:
        """An operation was applied."""
        if self._walking and not mode.recording:
            return
        if is_own(op):
            self._applied_own(op, inputs, params, result)
            return
        numbers = tuple(None if x is None else self.index_of(x) for x in inputs)
        entry = self._operation(op, params, extra, numbers, result, result._node)
        self._note(result, self._add(entry, result._node))

    def _applied_own(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], result: Tensor) -> None:
        """An operation of the user's own; each of several outputs is picked from it by an entry of its own."""
        for entry in self.entries:
            if entry.mark is not None and entry.mark[0] is getattr(op.owner.forward, "__code__", None):
                entry.inside = entry.op is not None
        node = result._node
        picked = node is not None and node.op is _Pick
        own = node.edges[0] if picked else node  # type: ignore[union-attr]
        index = None if own is None else self._by_node.get(own.id)
        if index is None:
            fixed = {i: x for i, x in enumerate(inputs) if not isinstance(x, _VALUES)}
            numbers = tuple(None if i in fixed else self.index_of(x) for i, x in enumerate(inputs))
            entry = self._operation(op, {**params, "fixed": fixed}, None, numbers, result, own)
            entry.kept = None if picked else entry.kept
            index = self._add(entry, own)
        if picked:
            assert node is not None
            index = self._add(self._operation(_Pick, node.params, None, (index,), result, node), node)
        self._note(result, index)

    def wrote(self, target: Tensor, value: Tensor) -> None:
        """A tensor took over another's value and history."""
        node = target._node
        if node is not None:
            self._absorb(node, target._data)
            self._note(target, self._by_node[node.id])
        else:
            self._note(target, self.index_of(value))

    def _operation(
        self,
        op: Any,
        params: dict[str, Any],
        extra: Any,
        inputs: tuple[int | None, ...],
        result: Tensor,
        node: Node | None,
    ) -> Entry:
        entry = Entry(
            kind="operation",
            shape=result.shape,
            dtype=result.dtype,
            kept=None,
            requires_grad=node is not None,
            op=op,
            params=params,
            extra=extra,
            inputs=inputs,
            mark=mark() if node is None else node.mark,
            scope=mode.scope if node is None else node.scope,
            walk=len(self.passes) - 1 if self._walking else None,
        )
        entry.kept = self._kept(entry, result._data)
        if node is not None:
            entry.saved, entry.saved_bytes = saved_by(node)
        return entry

    def index_of(self, x: Any, place: Mark | None = None) -> int:
        """The number of the entry that holds a value; what was not seen before becomes a leaf, or is retraced.

        ``place`` is where a leaf is used, if not at the line that runs now.
        """
        if not isinstance(x, Tensor):
            entry = self._leaf("constant", np.asarray(x), None, place)
            entry.weak = isinstance(x, (int, float))
            return self._add(entry, None)
        node = x._node
        if node is not None:
            if node.id not in self._by_node:
                self._absorb(node, x._data)
            return self._by_node[node.id]
        known = self._by_tensor.get(id(x))
        if known is not None and known[0]() is x and known[1] == x._version:
            return known[2]
        kind = "parameter" if isinstance(x, Parameter) else "variable" if x._requires_grad else "constant"
        index = self._add(self._leaf(kind, x._data, x, place), None)
        self._note(x, index)
        return index

    def _leaf(self, kind: str, array: Any, tensor: Tensor | None, place: Mark | None) -> Entry:
        requires = tensor is not None and tensor._requires_grad
        held = None if tensor is None else weakref.ref(tensor) if kind == "constant" else lambda: tensor
        entry = Entry(kind, array.shape, array.dtype, None, requires, held=held, scope=mode.scope)
        entry.mark = mark() if place is None else place
        entry.kept = self._kept(entry, array)
        return entry

    def _add(self, entry: Entry, node: Node | None) -> int:
        self.entries.append(entry)
        index = len(self.entries) - 1
        if node is not None:
            self.know_node(node, index)
        return index

    def _note(self, tensor: Tensor, index: int) -> None:
        self._by_tensor[id(tensor)] = (weakref.ref(tensor), tensor._version, index)

    def _absorb(self, node: Node, value: Any = None) -> None:
        """Take in the history of a node that was made unseen: before the recording, or by a write to a view."""
        for step in retrace(node, self._by_node.keys(), self._value_of, value):
            self._take(step)

    def _value_of(self, node_id: int) -> Any:
        kept = self.entries[self._by_node[node_id]].kept
        return None if kept is None else kept.array

    def _take(self, step: Retraced) -> None:
        node = step.node
        inputs: list[int | None] = []
        for i, edge in enumerate(node.edges):
            if type(edge) is Node:
                inputs.append(self._by_node[edge.id])
            elif edge is not None:
                inputs.append(self.index_of(edge, node.mark))
            else:
                inputs.append(self._constant(step, i))
        entry = Entry(
            kind="operation",
            shape=node.shape,
            dtype=node.dtype,
            kept=None,
            requires_grad=True,
            op=node.op,
            params=node.params,
            extra=node.extra if step.extra is None else step.extra,
            inputs=tuple(inputs),
            mark=node.mark,
            scope=node.scope,
        )
        entry.saved, entry.saved_bytes = saved_by(node)
        if step.value is not None:
            entry.kept = self._kept(entry, step.value)
        self._add(entry, node)

    def _constant(self, step: Retraced, position: int) -> int | None:
        value = step.constants[position]
        if value is None:
            return None
        if value is not GONE:
            return self.index_of(value, step.node.mark)
        shapes = step.node.shapes
        shape = step.node.shape if shapes is None else shapes[position]
        return self._add(Entry("constant", shape, step.node.dtype, None, False), None)

    def history_of(self, result: Tensor) -> int:
        """The number of the entry of a result, its value told again by its history and not taken from it."""
        node = result._node
        if node is None:
            return self.index_of(result)
        self._absorb(node)
        number = self._by_node[node.id]
        if self.entries[number].kept is None:
            self.entries[number].kept = self._kept(self.entries[number], result._data)
        self._note(result, number)
        return number

    def know(self, tensor: Tensor, index: int) -> None:
        """Let a tensor, and the node that made it, stand for an entry."""
        if tensor._node is not None:
            self.know_node(tensor._node, index)
        self._note(tensor, index)

    def know_node(self, node: Node, index: int) -> None:
        """Let a node stand for an entry."""
        self._by_node[node.id] = index

    def finder(self) -> Callable[[Any], int | None]:
        """Tells the number of the entry that a tensor stands for, None for one not seen; it holds no tensor."""
        by_node, by_tensor = self._by_node, self._by_tensor

        def number_of(tensor: Any) -> int | None:
            node = getattr(tensor, "_node", None)
            if node is not None and node.id in by_node:
                return by_node[node.id]
            known = by_tensor.get(id(tensor))
            return known[2] if known is not None and known[0]() is tensor else None

        return number_of

    def numbers_of(self, names: Mapping[int, str]) -> dict[int, str]:
        """Names of nodes as names of the entries that the nodes stand for; of nodes not seen there are none."""
        return {self._by_node[node]: name for node, name in names.items() if node in self._by_node}

    def noted(self) -> Iterable[tuple[int, tuple[weakref.ref[Tensor], int, int]]]:
        """Ids of tensors, each with a reference, the version seen and the number of the entry."""
        return self._by_tensor.items()

    # -- the backward pass --------------------------------------------------------------------------------------

    def start(self, roots: Sequence[tuple[Any, Any]]) -> None:
        """A walk starts."""
        self._walking = True
        self.passes.append(Pass())
        for place, gradient in roots:
            index = self._place(place)
            self.passes[-1].seeds[index] = self._gradient(index, gradient)

    def enter(self, node: Node, upstream: Any) -> None:
        """A node has its whole upstream gradient."""
        index = self._place(node)
        if not isinstance(upstream, _Part):
            self.passes[-1].upstream[index] = self._gradient(index, upstream)

    def leave(self, node: Node, upstream: Any, downstream: Sequence[Any]) -> None:
        """A node has handed down its contributions."""
        index = self._by_node[node.id]
        for position, part in enumerate(downstream):
            if isinstance(part, _Part):
                part = next(iter(part.parts.values()))
            if part is not None and node.edges[position] is not None:
                self.passes[-1].downstream[index, position] = self._gradient(index, part)

    def arrive(self, leaf: Any, gradient: Any) -> None:
        """A contribution reaches a leaf: what it had before is remembered the first time."""
        index = self.index_of(leaf)
        before = self.passes[-1].before
        if index not in before:
            before[index] = None if leaf._grad is None else self._gradient(index, leaf._grad)
            self._totals[index] = gradient
        else:
            self._totals[index] = self._totals[index] + gradient

    def finish(self) -> None:
        """A walk is over."""
        self._walking = False
        done = self.passes[-1]
        done.leaves = {index: self._gradient(index, total) for index, total in self._totals.items()}
        self._copies.clear()
        for index in done.before:
            done.after[index] = self._after(index, done)
        self._totals.clear()
        self._copies.clear()

    def _after(self, index: int, done: Pass) -> Kept | None:
        """A leaf's ``.grad`` after the walk; the very array that arrived alone is not copied a second time."""
        tensor = self.entries[index].tensor
        grad = None if tensor is None else tensor._grad
        if grad is None:
            return None
        return done.leaves[index] if grad._data is self._totals.get(index) else self._gradient(index, grad)

    def _place(self, place: Any) -> int:
        if type(place) is Node:
            if place.id not in self._by_node:
                self._absorb(place)
            return self._by_node[place.id]
        return self.index_of(place)

    def _gradient(self, index: int, gradient: Any) -> Kept:
        """A copy; the same array, passed on from one node to the next, is copied once."""
        array = gradient._data if isinstance(gradient, Tensor) else np.asarray(gradient)
        known = self._copies.get(id(array))
        if known is not None and known[0] is array:
            return known[1]
        kept = self._kept(self.entries[index], array)
        self._copies[id(array)] = (array, kept)
        return kept

    def _kept(self, entry: Entry, array: Any) -> Kept:
        """A copy, or statistics alone; then what the rules keep, which is as large as the value, goes too."""
        if self._wanted(entry, array):
            return Kept(np.array(array))
        entry.extra = None
        return Kept(array).dropped()

    def _wanted(self, entry: Entry, array: Any) -> bool:
        if not callable(self.keep):
            return self.keep == "all"
        if entry.module is None:
            entry.module = module_path(entry)  # asked for the value and every gradient, and slow to put together
        name = None if entry.op is None else entry.op.name
        return self.keep(Brief(name, entry.module, entry.shape, entry.dtype, array.nbytes))


def module_path(entry: Entry) -> str:
    """The path of the module that applied an entry's operation."""
    from ...graph import scope_path

    return scope_path(entry.scope)


def saved_by(node: Node) -> tuple[tuple[str, ...], int]:
    """What a node keeps for the backward pass, and how many bytes; nothing once it was released."""
    arrays = [getattr(value, "_data", None) for value in node.saved or ()]
    plan = node.plan
    given = [] if plan is None else [i for i, slot in enumerate(plan.kept) if slot != ABSENT]
    names = [plan.role(node.op, i) for i in given[: len(arrays)]]
    total = sum(array.nbytes for array in arrays if array is not None)
    extras = [a for a in _flat(node.extra) if isinstance(a, np.ndarray)]
    return (*names, *["extra"] * bool(extras)), total + sum(a.nbytes for a in extras)


def _flat(extra: Any) -> list[Any]:
    if isinstance(extra, (tuple, list)):
        return [item for part in extra for item in _flat(part)]
    return [extra]


def is_own(op: Any) -> bool:
    """Whether an operation is a user's ``autograd.Function``."""
    return isinstance(op, type) and issubclass(op, _Own)


__all__ = ["Brief", "Capture", "Keep", "Mark", "is_own", "module_path", "saved_by"]
