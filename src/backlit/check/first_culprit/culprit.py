"""Finding the first culprit: an observer of the forward pass and of the reverse walk, and the way back from a bad loss.

Going forward, every operation whose result is not finite leaves an :class:`Event`: what it computed, from which
entries, and which earlier events its operands came from. Nothing is said yet, because NaN and infinities that a mask
removes are nobody's concern. The verdict falls when a backward pass starts at a value that is not finite, or when a
gradient rule makes something that is not finite of an upstream gradient that is.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph import Node, WalkObserver, mode, scope_path
from ...numerics import hush, surely_finite, unhush
from ...ops.elementwise import Elementwise
from ...source import Mark, mark, resolve
from ...tensor import Tensor
from .anomaly import Anomaly
from .diagnosis import Evidence, behind_mask, diagnose
from .nonfinite import Entries, bad_entries, broadcasts_to, entries_at, is_finite, largest_entry, values_of

PASSED = 6
"""How many of the operations that passed a NaN on are named."""


@dataclass(eq=False)
class Operand:
    """One input of an operation: its values in question, and the event that made them not finite, if one did."""

    entries: Entries
    nan: bool
    inf: bool
    cause: Event | None
    maker: str
    learned: bool


@dataclass(eq=False)
class Event:
    """An operation whose result was not finite."""

    op: Any
    params: dict[str, Any]
    mark: Mark | None
    scope: tuple[Any, ...] | None
    result: Entries
    nan: bool
    operands: list[Operand]
    passed: list[Event] = field(default_factory=list)
    bad_data: bool = False

    def came_from(self) -> Operand | None:
        """The operand that brought what is wrong here; None where this operation made it.

        NaN comes from NaN. A NaN made of infinities comes from the operation that computed an infinity; infinities that
        were put there on purpose, as in attention masks, are not to blame, and then this operation is. Not so where
        the data are known to hold infinities.
        """
        operands = self.operands
        if self.nan:
            found = _first(operand for operand in operands if operand.nan)
            blamed = (o for o in operands if o.inf and (self.bad_data or (o.cause is not None and o.cause.computed())))
            return found or _first(blamed)
        return _first(operand for operand in operands if operand.inf or operand.nan)

    def masks(self) -> bool:
        """Whether it made NaN of an infinity by multiplying it by 0."""
        values = [set(map(abs, operand.entries.values)) for operand in self.operands]
        return self.op.name == "mul" and self.nan and {0.0} in values and {math.inf} in values

    def computed(self) -> bool:
        """Whether what is not finite here was computed from finite numbers, not given."""
        event: Event = self
        while (operand := event.came_from()) is not None:
            if operand.cause is None:
                return False
            event = operand.cause
        return True


def _first(operands: Iterator[Operand]) -> Operand | None:
    """The first of them, one with a known cause before one without."""
    found = list(operands)
    return next((operand for operand in found if operand.cause is not None), found[0] if found else None)


class Watch(WalkObserver):
    """Observes operations and the reverse walk in a block, and raises an ``AnomalyError`` when the culprit is known.

    ``begin`` and ``end`` put it in place and take it away; both kinds of observers stay as cheap as one sum of squares
    for every array that is made. ``bad_data`` says that what the block computes with is known to hold infinities.
    """

    def __init__(self, bad_data: bool = False) -> None:
        self._bad_data = bad_data
        self._by_node: weakref.WeakKeyDictionary[Node, Event] = weakref.WeakKeyDictionary()
        self._by_id: dict[int, tuple[weakref.ref[Any], Event]] = {}
        self._fed: set[int] = set()
        self._inside: list[Event] | None = None

    def begin(self) -> None:
        """Watch from now on."""
        mode.observers = (*mode.observers, self)
        mode.walkers = (*mode.walkers, self)

    def end(self) -> None:
        """Watch no longer."""
        mode.observers = tuple(o for o in mode.observers if o is not self)
        mode.walkers = tuple(o for o in mode.walkers if o is not self)

    # -- forward ------------------------------------------------------------------------------------------------

    def applied(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Any) -> None:
        """Look at a result; where it is not finite, keep what is needed to find out why."""
        data = result._data
        if data.dtype.kind != "f":
            return
        if op.is_view and (not self._by_id or self.event_of(inputs[0]) is None):
            return  # it shows what its input holds
        token = hush()
        try:
            if not (surely_finite(data) or is_finite(data)):
                self._note(op, inputs, params, result)
        finally:
            unhush(token)

    def _note(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], result: Any) -> None:
        """Keep an event; of an own function, the one inside it that made the result."""
        known, data = self._by_id.get(id(result)), result._data
        event = known[1] if known is not None and known[0]() is result else self._event(op, inputs, params, data)
        self._keep(result, event)
        if self._inside is not None:
            self._inside.append(event)

    def wrote(self, target: Any, value: Any) -> None:
        """A tensor took over another's values."""
        event = self.event_of(value)
        if event is None:
            self._by_id.pop(id(target), None)
            return
        self._keep(target, event)
        if target._view is not None:
            self._keep(target._view.base, event)

    def event_of(self, value: Any) -> Event | None:
        """The event in which a tensor became what it is, or None."""
        node = getattr(value, "_node", None)
        if node is not None:
            found = self._by_node.get(node)
            if found is not None:
                return found
        entry = self._by_id.get(id(value))
        return entry[1] if entry is not None and entry[0]() is value else None

    def _keep(self, tensor: Any, event: Event) -> None:
        if tensor._node is not None:
            self._by_node[tensor._node] = event
        place, kept = id(tensor), self._by_id
        kept[place] = (weakref.ref(tensor, lambda _: kept.pop(place, None)), event)

    def _event(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], data: np.ndarray) -> Event:
        result = bad_entries("result", data)
        operands = [self._operand(op, i, x, result, data.shape) for i, x in enumerate(inputs)]
        nan = bool(np.isnan(data).any())
        return Event(op, params, mark(), mode.scope, result, nan, operands, bad_data=self._bad_data)

    def _operand(self, op: Any, i: int, x: Any, result: Entries, shape: tuple[int, ...]) -> Operand:
        array = values_of(x)
        name = op.inputs[min(i, len(op.inputs) - 1)] if op.inputs else f"input {i}"
        floating = array.dtype.kind == "f"
        pointwise = issubclass(op, Elementwise) and array.dtype.kind in "fiu" and broadcasts_to(array, shape)
        entries = entries_at(name, array, result) if pointwise else largest_entry(name, array)
        node = getattr(x, "_node", None)
        return Operand(
            entries,
            floating and bool(np.isnan(array).any()),
            floating and bool(np.isinf(array).any()),
            self.event_of(x),
            "" if node is None else node.name,
            node is None and bool(getattr(x, "_requires_grad", False)),
        )

    # -- backward -----------------------------------------------------------------------------------------------

    def enter(self, node: Node, upstream: Any) -> None:
        """A walk that starts at a value which is not finite ends here."""
        if self._by_node and node.id not in self._fed:
            event = self._by_node.get(node)
            if event is not None:
                raise self.verdict(event, "the value that backward() starts from is not finite").error()
        self._inside = []

    def leave(self, node: Node, upstream: Any, downstream: Sequence[Any]) -> None:
        """Look at what a gradient rule handed down."""
        inside, self._inside = self._inside, None
        if self._by_node:
            self._fed.update(edge.id for edge in node.edges if edge.__class__ is Node)
        for i, part in enumerate(downstream):
            if part is None or part is upstream:
                continue
            for array in _arrays(part):
                if array.dtype.kind == "f" and not (surely_finite(array) or is_finite(array)):
                    raise self._backward(node, upstream, i, array, inside or []).error()

    def verdict(self, event: Event, head: str) -> Anomaly:
        """The report for a value that an event made not finite: back to where it came from."""
        passed: list[Event] = []
        while (operand := event.came_from()) is not None and operand.cause is not None:
            passed.append(event)
            event = operand.cause
        phase = "forward" if operand is None else "parameter" if operand.learned else "data"
        shown = [o for o in event.operands if o is operand or operand is None]
        evidence = Evidence(
            phase=phase,
            op=event.op,
            params=event.params,
            result=event.result,
            operands=tuple(o.entries for o in shown),
            makers=tuple(o.maker for o in shown),
        )
        found = diagnose(evidence)
        if any(later.masks() for later in passed):
            found = behind_mask(found)
        return Anomaly(
            phase=phase,
            operation=event.op.name,
            formula=event.op.formula,
            source=resolve(event.mark),
            module=scope_path(event.scope),
            result=event.result,
            operands=evidence.operands,
            upstream=None,
            cause=found.cause,
            diagnosis=found.diagnosis,
            fix=found.fix,
            passed=tuple(later.op.name for later in reversed(passed))[:PASSED],
            head=head,
        )

    def _backward(self, node: Node, upstream: Any, i: int, array: np.ndarray, inside: list[Event]) -> Anomaly:
        own = next((event for event in inside if event.came_from() is None), None) if _is_own(node) else None
        head = f"the backward pass made a gradient that is not finite, in the rule of {node.name}"
        if own is not None:
            found = self.verdict(own, head)
            return found.told(phase="backward", module=node.module, operation=f"{found.operation} in {node.name}")
        given = next(iter(_arrays(upstream)))
        spoiled = not is_finite(given)
        saved = None if spoiled else self._bad_saved(node)
        if saved is not None and saved.cause is not None:
            return self.verdict(saved.cause, head)
        name = node.op.inputs[min(i, len(node.op.inputs) - 1)] if node.op.inputs else f"input {i}"
        result = bad_entries(f"gradient of {name}", array)
        pointwise = not spoiled and broadcasts_to(given, array.shape) and array.shape == given.shape
        above = (
            bad_entries("upstream", given)
            if spoiled
            else entries_at("upstream", given, result)
            if pointwise
            else largest_entry("upstream", given)
        )
        operands = tuple(_saved(node, result, array.shape if pointwise else None))
        phase = "backward" if saved is None else "parameter" if saved.learned else "data"
        if saved is not None:
            operands = (saved.entries,)
        evidence = Evidence(
            phase=phase,
            op=node.op,
            params=node.params,
            result=result,
            operands=operands,
            makers=("",) * len(operands),
            upstream=above,
            upstream_bad=spoiled,
        )
        found_cause = diagnose(evidence)
        return Anomaly(
            phase=phase,
            operation=node.name,
            formula=node.op.formula,
            source=node.source,
            module=node.module,
            result=result,
            operands=operands,
            upstream=above,
            cause=found_cause.cause,
            diagnosis=found_cause.diagnosis,
            fix=found_cause.fix,
            head=head,
        )

    def _bad_saved(self, node: Node) -> Operand | None:
        """A saved value that was not finite before the walk, though the loss did not show it."""
        for position, value in enumerate(node.saved or ()):
            array = values_of(value)
            if value is None or is_finite(array):
                continue
            tensor = isinstance(value, Tensor)
            return Operand(
                bad_entries(_saved_name(node, position), array),
                bool(np.isnan(array).any()),
                True,
                self.event_of(value) if tensor else self._by_node.get(node),
                "",
                tensor and value._node is None and value._requires_grad,
            )
        return None


def _is_own(node: Node) -> bool:
    return hasattr(node.op, "owner")


def _arrays(part: Any) -> Iterator[np.ndarray]:
    """The arrays of a gradient: one, or one an output of an own node."""
    parts = getattr(part, "parts", None)
    for one in parts.values() if isinstance(parts, dict) else (part,):
        yield values_of(one)


def _saved(node: Node, result: Entries, shape: tuple[int, ...] | None) -> Iterator[Entries]:
    """The saved values of a node at the bad entries, or their largest entries where they do not correspond."""
    for position, value in enumerate(node.saved or ()):
        if value is None:
            continue
        array = values_of(value)
        name = _saved_name(node, position)
        if shape is not None and issubclass(node.op, Elementwise) and broadcasts_to(array, shape):
            yield entries_at(name, array, result)
        else:
            yield largest_entry(name, array)


def _saved_name(node: Node, position: int) -> str:
    if node.plan is None:
        return f"saved tensor {position}"
    slot = node.plan.kept[position]
    return "output" if slot < 0 else str(node.op.inputs[min(slot, len(node.op.inputs) - 1)])
