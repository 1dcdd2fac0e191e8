"""The debugger of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from ...errors import RecordError
from ..record import Edge, Local, Record, RecordNode
from .comparison import Comparison, compare
from .conditions import Condition
from .state import State
from .timeline import Step, timeline

Array = NDArray[Any]
Which = str | int | RecordNode | None
"""A node by name, number or itself; None for the one where the debugger stands."""


@dataclass(frozen=True)
class _Edits:
    """Values and upstream gradients by the number of the node, and where the debugger stood before the edit."""

    values: dict[int, Any] = field(default_factory=dict)
    upstream: dict[int, Any] = field(default_factory=dict)
    position: int = 0


class Debugger:
    """Steps through a record: forward through the operations, then backward through the walk.

    Every method that moves returns the :class:`State`, which prints what happened at the step. The record is complete
    from the start, so any node can be asked at any time. Edits run the computation again (:meth:`Record.rerun`):
    ``record`` is the run as edited, ``original`` the one without edits.

    >>> import backlit as bl
    >>> x, y, z = (bl.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> q = x + y
    >>> f = q * z
    >>> debugger = bl.explain(f).debugger()
    >>> _ = debugger.run_to("f", "backward")
    >>> debugger.downstream()
    (array(-4., dtype=float32), array(3., dtype=float32))
    >>> debugger.set_value("z", 10.0).node.upstream, debugger.upstream("x")
    (array(1., dtype=float32), array(10., dtype=float32))
    """

    def __init__(self, record: Record) -> None:
        self.original = record
        self.record = record
        self.steps: list[Step] = timeline(record)
        self.position = 0
        self.breakpoints: list[Condition | Callable[[State], bool]] = []
        self._history: list[_Edits] = [_Edits()]

    def __repr__(self) -> str:
        return f"<Debugger: step {self.position} of {len(self.steps)}, {self.edits} edits>"

    @property
    def state(self) -> State:
        """Where the debugger stands."""
        return self._state(self.position)

    @property
    def edits(self) -> int:
        """How many edits hold."""
        return len(self._history) - 1

    def _state(self, position: int, stopped: str | None = None) -> State:
        step = self.steps[position - 1] if position else None
        return State(self.record, step, position, len(self.steps), stopped)

    # -- moving -----------------------------------------------------------------------------------------------------

    def step(self, count: int = 1) -> State:
        """Go ``count`` steps on (back where it is negative), as far as there are any."""
        self.position = min(max(self.position + count, 0), len(self.steps))
        return self.state

    def back(self, count: int = 1) -> State:
        """Go ``count`` steps back."""
        return self.step(-count)

    def rewind(self) -> State:
        """Go to the start; edits hold."""
        return self.step(-self.position)

    def run(self) -> State:
        """Go on to the next step at which a break point holds, or to the end."""
        while self.position < len(self.steps):
            self.position += 1
            stopped = self._stopped()
            if stopped is not None:
                return self._state(self.position, stopped)
        return self.state

    def run_to(self, which: Which, phase: Literal["forward", "backward"] | None = None) -> State:
        """Go on to the next step of a node, in either phase or in the one given; break points on the way are passed.

        Raises:
            RecordError: the node has no further step; ``rewind`` goes to the start.
        """
        node = self._node(which)
        for i in range(self.position, len(self.steps)):
            step = self.steps[i]
            if step.node.id == node.id and phase in (None, step.phase):
                self.position = i + 1
                return self.state
        raise RecordError(
            f"{node.name} has no {f'{phase} ' if phase else ''}step after step {self.position}; rewind() goes to the "
            "start. (Leaves have a step in the backward phase, and only nodes that gradients reach do.)"
        )

    def break_on(self, condition: str | Callable[[State], bool]) -> int:
        """Let :meth:`run` stop where a condition holds; returns the break point's number, for :meth:`clear`.

        Args:
            condition: a text such as ``grad norm > 10``, ``isnan``, ``op == relu and phase == backward`` or
                ``module == net.layers.0`` (see :class:`Condition`), or a function of the state.

        Raises:
            ExpressionError: the text is no condition; carets show where.
        """
        self.breakpoints.append(Condition(condition) if isinstance(condition, str) else condition)
        return len(self.breakpoints) - 1

    def clear(self, number: int | None = None) -> None:
        """Remove a break point by its place in ``breakpoints``, or all."""
        if number is None:
            self.breakpoints.clear()
            return
        if not 0 <= number < len(self.breakpoints):
            raise RecordError(f"there is no break point {number}; there are {len(self.breakpoints)}, counted from 0.")
        del self.breakpoints[number]

    def _stopped(self) -> str | None:
        """The break point that holds at the present step."""
        state = self.state
        for point in self.breakpoints:
            if isinstance(point, Condition):
                if state.step is not None and point(state.step):
                    return point.text
            elif point(state):
                return getattr(point, "__name__", repr(point))
        return None

    # -- looking ----------------------------------------------------------------------------------------------------

    def where(self) -> str:
        """The user's line of the present step, with the module: ``net.py:12: h = relu(x @ w)  in net.layers.0``."""
        node = self.state.node
        if node is None:
            return "at the start"
        place = str(node.source) if node.source else "no line of the program is known"
        return f"{place}  in {node.module}" if node.module else place

    def value(self, which: Which = None) -> Array | None:
        """A node's value."""
        return self._node(which).value

    def upstream(self, which: Which = None) -> Array | None:
        """The gradient of the result with respect to a node; None where none came."""
        return self._node(which).upstream

    def local(self, which: Which = None) -> tuple[Local | None, ...]:
        """The local gradient of each of a node's inputs; None for inputs without gradient."""
        return self._node(which).local

    def downstream(self, which: Which = None) -> tuple[Array | None, ...]:
        """What a node handed down to each of its inputs."""
        return self._node(which).downstream

    def inputs(self, which: Which = None) -> tuple[Edge, ...]:
        """The edges from a node's inputs."""
        return self._node(which).inputs

    def _node(self, which: Which) -> RecordNode:
        if which is not None:
            return self.record.node(which)
        node = self.state.node
        if node is None:
            raise RecordError("the debugger is at the start, where there is no node yet; step() first, or name a node.")
        return node

    # -- editing ----------------------------------------------------------------------------------------------------

    def set_value(self, which: Which, value: Any) -> State:
        """Give a node another value: a leaf, or a result, which then no longer follows its inputs.

        Everything that depends on it is computed again, forward and backward; the debugger stays at its step.

        Raises:
            RecordError: the shape does not fit, or the record does not hold what a rerun needs.
        """
        last = self._history[-1]
        return self._edited(_Edits({**last.values, self._node(which).id: value}, last.upstream, self.position))

    def set_upstream(self, which: Which, gradient: Any) -> State:
        """Give a node another upstream gradient; what is handed down from there on follows.

        Raises:
            RecordError: the shape does not fit, no gradient reaches the node, or the record lacks what a rerun needs.
        """
        last = self._history[-1]
        return self._edited(_Edits(last.values, {**last.upstream, self._node(which).id: gradient}, self.position))

    def undo(self) -> State:
        """Take back the last edit and go to the step at which it was made.

        Raises:
            RecordError: nothing was edited.
        """
        if not self.edits:
            raise RecordError("nothing was edited, so there is nothing to undo.")
        position = self._history.pop().position
        self._apply(self._history[-1])
        self.position = min(position, len(self.steps))
        return self.state

    def compare(self, other: Record | Debugger | None = None) -> Comparison:
        """Where another run first differs from this one, and by how much.

        Args:
            other: a record or debugger of the same computation; without it, this run is held against the original.

        Raises:
            RecordError: it is of another computation.
        """
        if other is None:
            return compare(self.original, self.record)
        return compare(self.record, other.record if isinstance(other, Debugger) else other)

    def _edited(self, edits: _Edits) -> State:
        self._apply(edits)
        self._history.append(edits)
        return self.state

    def _apply(self, edits: _Edits) -> None:
        at = self.state.step
        changed = edits.values or edits.upstream
        run = self.original.rerun(values=edits.values, upstream=edits.upstream) if changed else self.original
        self.record, self.steps = run, timeline(run)
        places = (i + 1 for i, s in enumerate(self.steps) if at and (s.phase, s.node.id) == (at.phase, at.node.id))
        self.position = next(places, min(self.position, len(self.steps)))

    # -- in the terminal --------------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Debug in the terminal with keys; where standard input is no terminal, commands are read line by line."""
        from .terminal import interact

        interact(self)


__all__ = ["Debugger"]
