"""A recording of every operation that a function applies, with copies of the values it was applied to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...function import Function, _Own, _Part, _Pick
from ...graph import Node, WalkObserver, enable_grad, mode
from ...ops.definition import apply
from ...random import Generator
from ...source import Mark, inside, mark, resolve
from ...tensor import Tensor, constant


class Step:
    """One application of an operation, which can be repeated elsewhere.

    ``copies`` are the inputs' values at that moment, ``tracked`` tells which inputs had a history. ``fed`` holds the
    unrecorded steps that made inputs out of other inputs, by position: batch normalisation is given the statistics of
    its input, and its rule knows that they depend on it.
    """

    __slots__ = ("copies", "fed", "inputs", "mark", "node", "op", "params", "result", "scope", "tracked", "value")

    def __init__(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], result: Tensor) -> None:
        self.op = op
        self.inputs = inputs
        self.copies = tuple(_copied(x) for x in inputs)
        self.tracked = tuple(isinstance(x, Tensor) and x._requires_grad for x in inputs)
        self.params = params
        self.result = result
        self.value = np.array(result._data)
        node = result._node
        self.node: Node | None = node.edges[0] if node is not None and node.op is _Pick else node
        self.mark: Mark | None = mark()
        self.scope = mode.scope
        self.fed: dict[int, Step] = {}

    @property
    def own(self) -> type[Function] | None:
        """The user's ``autograd.Function`` behind this step, if one is."""
        return self.op.owner if issubclass(self.op, _Own) else None

    @property
    def positions(self) -> list[int]:
        """The inputs that gradients flow to."""
        return [i for i, tracked in enumerate(self.tracked) if tracked and self.copies[i].dtype.kind == "f"]

    @property
    def place(self) -> str:
        """``train.py:12: y = x @ w``."""
        return str(resolve(self.mark) or "inside backlit")

    @property
    def rule_place(self) -> str:
        """Where the ``backward`` of an own node is written; empty for the library's operations."""
        code = getattr(getattr(self.own, "backward", None), "__code__", None)
        if code is None or inside[code.co_filename]:
            return ""
        return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"

    def input_name(self, position: int) -> str:
        """What the operation calls an input."""
        if self.own is not None:
            return f"argument {position}"
        names = self.op.inputs
        return f"input '{names[min(position, len(names) - 1)]}'" if names else f"input {position}"

    def repeat(self, leaves: Sequence[Tensor], positions: Sequence[int], feed: bool = False) -> Any:
        """Apply the operation again to the values it was applied to, with ``leaves`` at some positions.

        ``feed`` also makes the inputs again that were made out of those.
        """
        chosen = dict(zip(positions, leaves, strict=True))
        inputs = tuple(
            chosen.get(i, constant(c.copy()) if isinstance(c, np.ndarray) else c) for i, c in enumerate(self.copies)
        )
        if feed:
            made = {
                i: step.repeat([inputs[j] for j in step.where(self)], range(len(step.inputs)))
                for i, step in self.fed.items()
            }
            inputs = tuple(made.get(i, x) for i, x in enumerate(inputs))
        owner = self.own
        if owner is not None:
            return owner.apply(*inputs, **self.params.get("kwargs", {}))
        params = {k: v.clone() if isinstance(v, Generator) else v for k, v in self.params.items()}
        return apply(self.op, inputs, params)

    def where(self, other: Step) -> list[int]:
        """Where this step's inputs are among another's; shorter than the inputs if some are not."""
        places = {id(_array(x)): i for i, x in enumerate(other.inputs)}
        return [places[id(_array(x))] for x in self.inputs if id(_array(x)) in places]

    def overwritten(self) -> int | None:
        """The first input whose memory holds other values now than when the operation was applied, if one does."""
        for i, (given, copy) in enumerate(zip(self.inputs, self.copies, strict=True)):
            if isinstance(copy, np.ndarray) and not np.array_equal(
                _array(given), copy, equal_nan=copy.dtype.kind == "f"
            ):
                return i
        return None


class Tape:
    """Notes every operation applied inside the ``with`` block."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._own: set[int] = set()
        self._unrecorded: dict[int, Step] = {}

    def __enter__(self) -> Tape:
        self._outer = mode.observers
        mode.observers = (*self._outer, self)
        return self

    def __exit__(self, *exc: object) -> None:
        mode.observers = self._outer

    def applied(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], extra: Any, result: Tensor) -> None:
        """An operation was applied. An own node with several outputs is told of once an output, and kept once."""
        if issubclass(op, _Own):
            if id(params["ctx"]) in self._own:
                return
            self._own.add(id(params["ctx"]))
        step = Step(op, inputs, params, result)
        for i, x in enumerate(inputs):
            maker = self._unrecorded.get(id(_array(x)))
            if maker is not None and len(maker.where(step)) == len(maker.inputs):
                step.fed[i] = maker
        if not op.differentiable:
            self._unrecorded[id(result._data)] = step
        self.steps.append(step)

    def wrote(self, target: Tensor, value: Tensor) -> None:
        """An in-place write: its operation was already told of."""


class Handed(WalkObserver):
    """What each node was handed in a reverse walk, and what it handed down."""

    def __init__(self) -> None:
        self.by_node: dict[Node, tuple[dict[int, Any], list[Any]]] = {}

    def __enter__(self) -> Handed:
        self._outer = mode.walkers
        mode.walkers = (*self._outer, self)
        return self

    def __exit__(self, *exc: object) -> None:
        mode.walkers = self._outer

    def leave(self, node: Node, upstream: Any, downstream: Any) -> None:
        """A node's rule ran."""
        if node.op is not _Pick:
            parts = upstream.parts if isinstance(upstream, _Part) else {0: upstream}
            self.by_node[node] = (
                {i: np.array(_array(g)) for i, g in parts.items()},
                [None if part is None else np.array(_array(part)) for part in downstream],
            )


def record(subject: Any) -> tuple[Tape, Handed, Exception | None]:
    """Run a subject forward and backward once, and note everything; also what went wrong on the way back."""
    handed = Handed()
    with Tape() as tape, enable_grad():
        outs = subject.outputs(subject.leaves)
    live = [(o, constant(u.astype(o.dtype))) for o, u in zip(outs, subject.cotangents, strict=True) if o.requires_grad]
    error: Exception | None = None
    if live:
        from ...autograd import grad

        try:
            with handed:
                grad([o for o, _ in live], subject.leaves, [u for _, u in live], allow_unused=True)
        except (RuntimeError, ValueError, TypeError, IndexError) as caught:
            error = caught
    return tape, handed, error


def _array(value: Any) -> Any:
    return getattr(value, "_data", value)


def _copied(value: Any) -> Any:
    array = _array(value)
    return array.copy() if isinstance(array, np.ndarray) else array
