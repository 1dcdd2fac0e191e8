"""The journal: what was last done to gradients as a whole, for ``backlit.why``.

A gradient may be missing because no backward pass ran, because one ran that left it out or failed, or because it was
cleared afterwards. Each thread remembers the last few such calls, with the user's line, and by weak reference what
they were about. A note costs a third of a microsecond, twice a training step.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet, ref

from .graph import last_id
from .source import Mark, mark

CALLS = 64
CHANGES = 256


class Call(NamedTuple):
    """One call.

    Attributes:
        kind: ``backward``, ``grad``, ``failed`` (the walk noted before raised), ``zero_grad``, ``grad_cleared`` or
            ``grad_set``.
        mark: the user's line.
        stamp: comparable with the numbers of nodes.
        targets: weak references to the tensors that the walk started from, or to whose gradients were changed.
        wanted: weak references to the inputs that a backward pass was limited to, or None.
        detail: what is known of roots that are not in the graph (their cuts), or the message of the error.
    """

    kind: str
    mark: Mark | None
    stamp: int
    targets: tuple[Any, ...]
    wanted: tuple[Any, ...] | None = None
    detail: Any = None


class Journal(threading.local):
    """The last :data:`CALLS` calls as plain tuples, the optimizers that cleared gradients (each remembers its last
    time), and the last :data:`CHANGES` settings of ``requires_grad``."""

    def __init__(self) -> None:
        self.notes: deque[tuple[Any, ...]] = deque(maxlen=CALLS)
        self.optimizers: WeakSet[Any] = WeakSet()
        self.switched: OrderedDict[int, tuple[Any, Mark | None]] = OrderedDict()

    def calls(self) -> list[Call]:
        """The calls, oldest first."""
        calls = [Call(*note) for note in self.notes]
        calls += [
            Call("zero_grad", optimizer._cleared[0], optimizer._cleared[1], (ref(optimizer),))
            for optimizer in self.optimizers
        ]
        return sorted(calls, key=lambda call: call.stamp)


journal = Journal()


def changed(kind: str, owner: Any) -> None:
    """Note that gradients were cleared or replaced: of a tensor, or of all that a module holds."""
    journal.notes.append((kind, mark(), last_id(), (ref(owner),)))


def cleared(optimizer: Any) -> None:
    """Note that an optimizer cleared its gradients."""
    if optimizer._cleared is None:
        journal.optimizers.add(optimizer)
    optimizer._cleared = mark(), last_id()


def walk_started() -> Mark | None:
    """The line that started the walk that is going on."""
    return journal.notes[-1][1] if journal.notes else None


def started(kind: str, roots: Sequence[Any], wanted: Sequence[Any] | None) -> None:
    """Note that a walk starts from ``roots``, tensors, limited to ``wanted`` (None: every leaf)."""
    if len(roots) == 1 and wanted is None and roots[0]._requires_grad:
        journal.notes.append((kind, mark(), last_id(), (ref(roots[0]),)))
        return
    targets = tuple(map(ref, roots))
    limits = None if wanted is None else tuple(map(ref, wanted))
    cuts = tuple(root._cut for root in roots if root._cut is not None) or None
    journal.notes.append((kind, mark(), last_id(), targets, limits, cuts))


def failed(error: Exception) -> None:
    """Note that the walk noted last raised."""
    _, place, _, targets, *_ = journal.notes[-1]
    journal.notes.append(("failed", place, last_id(), targets, None, str(error)))


def grad_switched(tensor: Any) -> None:
    """Note where ``requires_grad`` of a tensor was last set."""
    journal.switched[id(tensor)] = (ref(tensor), mark())
    if len(journal.switched) > CHANGES:
        journal.switched.popitem(last=False)


def switched_at(tensor: Any) -> Mark | None:
    """The line that last set ``requires_grad`` of a tensor, where it is remembered."""
    known = journal.switched.get(id(tensor))
    return known[1] if known is not None and known[0]() is tensor else None
