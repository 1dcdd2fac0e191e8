"""The order in which a debugger goes through a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..record import Record, RecordNode
from ..record.numbers import Kept

Phase = Literal["forward", "backward"]


@dataclass(frozen=True)
class Step:
    """One node in one phase: an operation applied, an operation's gradients handed down, or (a leaf in the backward
    phase) a leaf's gradient complete."""

    phase: Phase
    node: RecordNode

    @property
    def results(self) -> tuple[Kept, ...]:
        """The numbers that the step brings: the value; or the upstream gradient and what is handed down of it."""
        if self.phase == "forward":
            found = [self.node.value_kept]
        else:
            found = [self.node.upstream_kept, *(edge.downstream_kept for edge in self.node.inputs)]
        return tuple(kept for kept in found if kept is not None)


def timeline(rec: Record) -> list[Step]:
    """Forward through the operations that the roots were computed from, then backward in the order of the walk.

    A leaf comes right after the last operation that contributed to its gradient. Without a backward pass there is only
    the forward phase, of all operations.
    """
    forward = [Step("forward", node) for node in rec.operations if node.id in _leading_to(rec)]
    return [*forward, *(Step("backward", node) for node in _backward(rec))]


def _leading_to(rec: Record) -> set[int]:
    """The numbers of the nodes that the roots depend on, themselves included."""
    found: set[int] = set()
    stack = list(rec.roots)
    while stack:
        node = stack.pop()
        if node.id not in found:
            found.add(node.id)
            stack += [edge.source for edge in node.inputs]
    return found


def _backward(rec: Record) -> Iterator[RecordNode]:
    walked = _walked(rec)
    place = {number: i for i, number in enumerate(walked)}
    done: dict[int, list[RecordNode]] = {}
    for leaf in rec.leaves:
        if leaf.upstream_kept is not None:
            last = max((place[edge.target.id] for edge in leaf.terms), default=-1)
            done.setdefault(last, []).append(leaf)
    yield from done.get(-1, ())
    for i, number in enumerate(walked):
        yield rec.nodes[number]
        yield from done.get(i, ())


def _walked(rec: Record) -> list[int]:
    """The numbers of the operations that the walk went through. A user's own operation with several outputs has no
    upstream gradient of its own, only its outputs have; it shows by what it handed down."""
    if rec._pass is None:
        return []
    order = list(rec._pass.upstream)
    known = set(order)
    before = None
    for number, _ in rec._pass.downstream:
        if number not in known:
            order.insert(0 if before is None else order.index(before) + 1, number)
            known.add(number)
        before = number
    return [number for number in order if rec._entries[number].op is not None]
