"""How the gradient came down from the loss to one tensor: what arrived and what was handed on, edge by edge."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BacklitError
from ...graph import Node, WalkObserver, mode, no_grad, walk
from ...numerics import quiet
from .question import Question
from .twin import Twin
from .verdict import Link, link_of

MUCH_LESS = 100.0


@dataclass(frozen=True)
class Measure:
    """An array in four numbers: its ``length`` (L2 norm), ``largest`` magnitude, share of exact ``zeros``, and whether
    all of it is ``finite``."""

    length: float
    largest: float
    zeros: float
    finite: bool

    @staticmethod
    def of(gradient: Any) -> Measure:
        """Measure an array, or the parts that an own node gets for its several outputs."""
        parts = getattr(gradient, "parts", None)
        arrays = parts.values() if isinstance(parts, dict) else (gradient,)
        flat = np.concatenate([np.ravel(np.asarray(getattr(a, "_data", a))) for a in arrays]).astype(np.float64)
        if not flat.size:
            return Measure(0.0, 0.0, 0.0, True)
        largest = float(np.abs(flat).max())
        scale = largest if 0 < largest < math.inf else 1.0  # squares of tiny numbers vanish
        length = float(np.linalg.norm(flat / scale)) * scale
        return Measure(length, largest, float(np.mean(flat == 0)), bool(np.isfinite(flat).all()))


@dataclass(eq=False)
class Hop:
    """What a node handed to one of its inputs: ``up`` arrived at the node, ``down`` was handed on."""

    node: Node
    position: int
    edge: Any
    up: Measure
    down: Measure | None

    @property
    def blocked(self) -> bool:
        """Whether something arrived and nothing but zeros was handed on."""
        return self.up.largest != 0 and (self.down is None or self.down.largest == 0)

    @property
    def factor(self) -> float | None:
        """How much longer the gradient became; None where nothing arrived or nothing was handed on."""
        return None if self.down is None or not self.up.length else self.down.length / self.up.length


@dataclass(eq=False)
class Flow(WalkObserver):
    """The reverse walk from the loss to one tensor, measured.

    ``hops`` has what every node on the way handed on, newest first; ``arrived`` what arrived at nodes (by number) that
    handed on nothing or much less. ``gradient`` is what came down to the tensor; None where nothing did. ``failure`` is
    the error that ended the walk, if one did.
    """

    useful: set[int]
    target: Any
    hops: list[Hop] = field(default_factory=list)
    arrived: dict[int, Any] = field(default_factory=dict)
    gradient: Any = None
    failure: BacklitError | None = None

    def leave(self, node: Node, upstream: Any, downstream: Sequence[Any]) -> None:
        """Measure what a node hands on towards the tensor."""
        up = Measure.of(upstream)
        for position, (edge, part) in enumerate(zip(node.edges, downstream, strict=True)):
            if edge is not self.target and not (type(edge) is Node and edge.id in self.useful):
                continue
            down = None if part is None else Measure.of(part)
            self.hops.append(Hop(node, position, edge, up, down))
            if down is None or down.length < up.length / MUCH_LESS:
                self.arrived[node.id] = upstream

    def into(self, place: Any) -> list[Hop]:
        """What was handed to a node or to the tensor."""
        return self._into[id(place)]

    @property
    def _into(self) -> dict[int, list[Hop]]:
        found: dict[int, list[Hop]] = defaultdict(list)
        for hop in self.hops:
            found[id(hop.edge)].append(hop)
        return found

    def main_path(self) -> list[Hop]:
        """The way down that carried most, from the loss to the tensor."""
        into = self._into
        hops: list[Hop] = []
        place = self.target
        while into[id(place)]:
            hops.append(max(into[id(place)], key=_weight))
            place = hops[-1].node
        return hops[::-1]

    def links(self) -> tuple[Link, ...]:
        """The main path with its factors."""
        return tuple(link_of(hop.node, hop.factor) for hop in self.main_path())


def _weight(hop: Hop) -> tuple[float, float, int]:
    down = -1.0 if hop.down is None else hop.down.length
    return (math.inf if math.isnan(down) else down, hop.up.length, hop.node.id)


def flow_of(question: Question, twin: Twin, walkers: tuple[WalkObserver, ...] = ()) -> Flow:
    """Walk from the loss to the tensor on a copy of the graph; ``walkers`` watch as well.

    The walk starts from ones, as ``loss.sum().backward()`` does.
    """
    target = twin.place(question.place)
    flow = Flow({node.id for node in question.useful}, target)
    seed = np.ones(twin.root.shape, twin.root.dtype)
    before = mode.walkers, mode.observers
    mode.walkers, mode.observers = (flow, *walkers), ()
    try:
        with no_grad(), quiet():
            found = walk([(twin.root, seed)], keep=True, targets={target}, arrive=lambda *_: None)
        flow.gradient = found.get(target)
    except BacklitError as error:
        flow.failure = error.with_traceback(None)  # which would hold the frames, and with them the graph
    finally:
        mode.walkers, mode.observers = before
    return flow
