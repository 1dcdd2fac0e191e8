"""Telling a forward pass again from its graph: the values that nodes no longer hold are computed once more.

A graph holds what its rules need, and nothing after a backward pass released it. But the leaves are still there, and
each node remembers its constants (``Node.constants``), so every value can be had again from the definitions, unless a
constant is gone or something was drawn at random and released.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...function import _Own, _Pick
from ...graph import Node, reachable
from ...numerics import quiet
from ...ops.definition import OUTPUT
from ...tensor import Tensor

GONE = object()
"""Stands for a constant that nobody holds any more. (None is an input that was left out, such as a mask.)"""


@dataclass
class Retraced:
    """A node with its value (None: no longer known), what its rule keeps beside it, and its constants by position."""

    node: Node
    value: Any
    extra: Any
    constants: tuple[Any, ...]


def retrace(
    node: Node, known: Collection[int], value_of: Callable[[int], Any] = lambda _: None, value: Any = None
) -> list[Retraced]:
    """The nodes that ``node`` was computed from, itself last, those with numbers in ``known`` left out.

    Args:
        node: where to end.
        known: numbers of nodes that need not be told again.
        value_of: gives the value of a known node, or None.
        value: the value of ``node`` itself, where it is at hand.
    """
    order = reachable([node])[::-1]
    values = _kept_by_users(order)
    if value is not None:
        values[node.id] = value
    steps = []
    for current in order:
        if current.id in known:
            values[current.id] = value_of(current.id)
            continue
        constants = tuple(_constant(current, i) for i in range(len(current.edges)))
        extra = current.extra
        found = values.get(current.id)
        if found is None or (current.op.has_extra and extra is None):
            found, extra = _value(current, constants, values)
        values[current.id] = found
        steps.append(Retraced(current, found, extra, constants))
    return steps


def _kept_by_users(nodes: Iterable[Node]) -> dict[int, Any]:
    """Results that were saved by an operation that took them as input."""
    values: dict[int, Any] = {}
    for node in nodes:
        if node.saved is None or node.plan is None:
            continue
        for slot, saved in zip(node.plan.kept, node.saved, strict=True):
            edge = node.edges[slot] if slot >= 0 else None
            if type(edge) is Node and isinstance(saved, Tensor):
                values[edge.id] = saved._data
    return values


def _constant(node: Node, position: int) -> Any:
    """An input without an edge, as it was given, or GONE; None where there is an edge."""
    if node.edges[position] is not None:
        return None
    if node.plan is not None and node.saved is not None and position in node.plan.kept:
        return node.saved[node.plan.kept.index(position)]
    if node.constants is None:
        return GONE
    remembered = node.constants[position]
    if not isinstance(remembered, weakref.ref):
        return remembered
    value = remembered()
    return GONE if value is None else value


def _value(node: Node, constants: tuple[Any, ...], values: dict[int, Any]) -> tuple[Any, Any]:
    """A node's value and extra: as saved, or computed again from its inputs' values."""
    if node.plan is not None and node.saved is not None and OUTPUT in node.plan.kept:
        return node.saved[node.plan.kept.index(OUTPUT)]._data, node.extra
    if issubclass(node.op, (_Own, _Pick)):
        return None, None
    arrays = [_array(edge, constant, values) for edge, constant in zip(node.edges, constants, strict=True)]
    if any(array is GONE for array in arrays):
        return None, node.extra
    try:
        with quiet():
            out = node.op.again(node.extra, *arrays, **node.params)
    except LookupError:
        return None, None
    return out if node.op.has_extra else (np.asarray(out), node.extra)


def _array(edge: Any, constant: Any, values: dict[int, Any]) -> Any:
    if type(edge) is Node:
        value = values[edge.id]
        return GONE if value is None else value
    value = constant if edge is None else edge
    return value._data if isinstance(value, Tensor) else value
