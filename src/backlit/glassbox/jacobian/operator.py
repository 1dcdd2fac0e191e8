"""∂node/∂input through everything between them, as an operator: products with it, never the whole unless asked for."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RecordError
from ..record.model import Edge, RecordNode

Array = NDArray[Any]


class Chain:
    """All paths from ``source`` forward to ``target``: the Jacobian as the local rules, one after the other.

    ``pull`` takes an upstream gradient (the target's shape) back to the source, ``push`` a movement of the source (its
    shape) forward to the target.
    """

    def __init__(self, target: RecordNode, source: RecordNode) -> None:
        self.target, self.source = target, source
        self.edges = _between(target, source)
        if not self.edges and target.id != source.id:
            raise RecordError(
                f"jacobian: {target.name} does not depend on {source.name} along any path that carries gradient, so "
                "its Jacobian is zero. Give a node and one of the values that it was computed from."
            )

    @property
    def out(self) -> tuple[int, ...]:
        """The target's shape."""
        return self.target.shape

    @property
    def into(self) -> tuple[int, ...]:
        """The source's shape."""
        return self.source.shape

    def pull(self, upstream: Array) -> Array:
        """``upstream`` through the transposed Jacobian."""
        arrived = {self.target.id: np.asarray(upstream)}
        for edge in reversed(self.edges):
            part = edge.local.pull(arrived[edge.target.id])
            known = arrived.get(edge.source.id)
            arrived[edge.source.id] = part if known is None else known + part
        return arrived[self.source.id].reshape(self.into)

    def push(self, tangent: Array) -> Array:
        """``tangent`` through the Jacobian."""
        moved = {self.source.id: np.asarray(tangent)}
        for edge in self.edges:
            part = edge.local.push(moved[edge.source.id])
            known = moved.get(edge.target.id)
            moved[edge.target.id] = part if known is None else known + part
        return moved[self.target.id].reshape(self.out)

    @cached_property
    def matrix(self) -> Array:
        """All of it, as many rows as the target has elements and as many columns as the source, from fewer products."""
        rows, columns = math.prod(self.out), math.prod(self.into)
        if rows <= columns:
            units = np.eye(rows, dtype=self.target.dtype)
            found = [self.pull(unit.reshape(self.out)).reshape(-1) for unit in units]
            return np.array(found, self.target.dtype).reshape(rows, columns)
        units = np.eye(columns, dtype=self.source.dtype)
        found = [self.push(unit.reshape(self.into)).reshape(-1) for unit in units]
        return np.array(found, self.target.dtype).reshape(columns, rows).T


class Whole:
    """The same products from a matrix that is at hand, which makes probing it quick."""

    def __init__(self, matrix: Array, out: tuple[int, ...], into: tuple[int, ...]) -> None:
        self.matrix, self.out, self.into = matrix, out, into

    def pull(self, upstream: Array) -> Array:
        """``upstream`` through the transposed matrix."""
        return (np.asarray(upstream).reshape(-1) @ self.matrix).reshape(self.into)

    def push(self, tangent: Array) -> Array:
        """``tangent`` through the matrix."""
        return (self.matrix @ np.asarray(tangent).reshape(-1)).reshape(self.out)


Operator = Chain | Whole


def _between(target: RecordNode, source: RecordNode) -> list[Edge]:
    """The edges on paths from the source to the target that carry gradient, in the order of the forward pass."""
    below = {source.id}
    for node in source._record.nodes[source.id + 1 : target.id + 1]:
        if any(edge.differentiable and edge.source.id in below for edge in node.inputs):
            below.add(node.id)
    edges: list[Edge] = []
    wanted = {target.id}
    for node in reversed(source._record.nodes[source.id + 1 : target.id + 1]):
        if node.id in wanted:
            found = [e for e in node.inputs if e.differentiable and e.source.id in below]
            wanted |= {e.source.id for e in found}
            edges += found[::-1]
    return edges[::-1]
