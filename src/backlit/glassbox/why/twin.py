"""The graph once more, to be walked without touching the user's: its nodes keep their values, and hooks are left out.

Saved values are those of the graph itself; where a backward pass has released them they are computed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph import Node
from ...ops.definition import ABSENT, OUTPUT
from ...tensor import Tensor
from ..record.retrace import GONE, Retraced, retrace

_KEPT = ("id", "op", "params", "shapes", "shape", "dtype", "mark", "scope", "plan", "versions", "constants")


class Twin:
    """A copy of the nodes behind ``root``.

    ``nodes`` are the copies by the number of their original, which they share; ``values`` the results, None where no
    longer known; ``complete`` says that every node can be walked.
    """

    def __init__(self, root: Node) -> None:
        self.nodes: dict[int, Node] = {}
        self.values: dict[int, Any] = {}
        self.steps = retrace(root, ())
        self._by_id = {step.node.id: step for step in self.steps}
        for step in self.steps:
            self.values[step.node.id] = step.value
            self.nodes[step.node.id] = self._copy(step)
        self.root = self.nodes[root.id]
        self.complete = all(node.saved is not None for node in self.nodes.values())

    def place(self, place: Any) -> Any:
        """What stands for a node or a leaf of the original."""
        return self.nodes[place.id] if type(place) is Node else place

    def inputs(self, node: Node) -> tuple[Any, ...]:
        """The values of a node's inputs, None where they are not known."""
        step = self._by_id[node.id]
        return tuple(self._input(step, i) for i in range(len(node.edges)))

    def _copy(self, step: Retraced) -> Node:
        node = step.node
        copy = Node.__new__(Node)
        for name in _KEPT:
            setattr(copy, name, getattr(node, name))
        copy.hooks = copy.behind = None
        copy.edges = tuple(self.place(edge) for edge in node.edges)
        copy.extra = step.extra
        copy.saved = node.saved
        if node.saved is None:
            copy.versions = None
            copy.saved = self._saved(step)
        return copy

    def _saved(self, step: Retraced) -> list[Any] | None:
        """What the rules of a released node need, or None where it cannot be had."""
        node = step.node
        if node.plan is None or (node.op.has_extra and step.extra is None):
            return None
        saved = []
        for slot in node.plan.kept:
            value = None if slot == ABSENT else step.value if slot == OUTPUT else self._input(step, slot)
            if value is None and slot != ABSENT and self._given(step, slot):
                return None
            saved.append(Tensor(value) if isinstance(value, np.ndarray) else value)
        return saved

    def _input(self, step: Retraced, position: int) -> Any:
        edge = step.node.edges[position]
        if type(edge) is Node:
            return self.values[edge.id]
        value = step.constants[position] if edge is None else edge
        return None if value is GONE else getattr(value, "_data", value)

    def _given(self, step: Retraced, position: int) -> bool:
        """Whether an input was given at all; a mask, for example, may be left out."""
        return position == OUTPUT or step.node.edges[position] is not None or step.constants[position] is not None
