"""∂node/∂input of a record: the matrix where it is small, its structure in words, and a picture."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import RecordError
from ..record.model import Record
from ..words import figures
from . import picture
from .operator import Array, Chain, Operator, Whole
from .structure import Structure, structure

SMALL = 4096
"""Jacobians with up to this many entries are written out."""
SIDE = 48
"""Pictures have at most this many rows and columns; of larger Jacobians, rows and columns evenly spread."""


class Jacobian:
    """∂node/∂input through everything between them.

    ``shape`` is the node's followed by the input's. Products with it are exact at any size: ``pull`` and ``push``,
    ``row`` and ``column``. ``structure`` and ``words`` say what kind of matrix it is, as found out by products with
    random vectors. ``print`` shows all of it.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.shape = (*chain.out, *chain.into)

    @cached_property
    def matrix(self) -> Array | None:
        """The entries, of :attr:`shape`; None where they are more than 4096."""
        return None if math.prod(self.shape) > SMALL else self.chain.matrix.reshape(self.shape)

    def pull(self, upstream: Array) -> Array:
        """``upstream``, of the node's shape, through the transposed Jacobian: a gradient of the input's shape."""
        return self.chain.pull(upstream)

    def push(self, tangent: Array) -> Array:
        """``tangent``, of the input's shape, through the Jacobian: a movement of the node's shape."""
        return self.chain.push(tangent)

    def row(self, index: int | tuple[int, ...]) -> Array:
        """How one element of the node depends on all of the input."""
        return self.pull(_unit(self.chain.out, index, self.chain.target.dtype))

    def column(self, index: int | tuple[int, ...]) -> Array:
        """How all of the node depends on one element of the input."""
        return self.push(_unit(self.chain.into, index, self.chain.source.dtype))

    @cached_property
    def structure(self) -> Structure:
        """A kind, and what it is in words."""
        operator: Operator = self.chain
        if self.matrix is not None:
            operator = Whole(self.chain.matrix, self.chain.out, self.chain.into)
        between = {edge.target.id: edge.target for edge in self.chain.edges}.values()
        others = {e.source.name: e.source.value for node in between for e in node.inputs if e.source.value is not None}
        return structure(operator, others, self.chain.target.dtype)

    @property
    def words(self) -> str:
        """The structure in one line."""
        return self.structure.words

    @cached_property
    def sample(self) -> Array:
        """What pictures show: the Jacobian as a matrix, or at most 48 of its rows and columns, evenly spread."""
        rows, columns = (_spread(math.prod(n)) for n in (self.chain.out, self.chain.into))
        if self.matrix is not None:
            return self.chain.matrix[np.ix_(rows, columns)]
        units = (_unit(self.chain.out, np.unravel_index(i, self.chain.out), self.chain.target.dtype) for i in rows)
        return np.array([self.pull(unit).reshape(-1)[columns] for unit in units])

    def svg(self) -> str:
        """A picture: blue for positive, red for negative, the stronger the larger."""
        return picture.svg(self.sample, self._title)

    @property
    def _title(self) -> str:
        out, into = figures.shape(self.chain.out), figures.shape(self.chain.into)
        return f"∂{self.chain.target.name}/∂{self.chain.source.name}  ({out}) × ({into})"

    def __str__(self) -> str:
        lines = [self._title, self.words]
        if self.matrix is not None and self.matrix.size <= figures.SHOWN:
            return "\n".join([*lines, *(figures.array(row) for row in self.chain.matrix)])
        rows, columns = self.sample.shape
        if self.matrix is None or self.sample.size < self.matrix.size:
            lines.append(f"{figures.counted(rows, 'row')} and {figures.counted(columns, 'column')}, evenly spread:")
        return "\n".join([*lines, picture.text(self.sample)])

    def __repr__(self) -> str:
        return f"<Jacobian {self._title}: {self.structure.kind}>"


def jacobian(rec: Record, node: Any, input: Any) -> Jacobian:
    """∂node/∂input of a record; ``input`` may be anything that ``node`` was computed from, near or far.

    Raises:
        RecordError: there is no such node, the one does not depend on the other, or values are missing.

    >>> import backlit as bl
    >>> x = bl.tensor([1.0, -2.0, 3.0], requires_grad=True)
    >>> rec = bl.explain((bl.relu(x) * 2).sum())
    >>> print(jacobian(rec, "mul", "x"))
    ∂mul/∂x  (3) × (3)
    diagonal: 3 slopes between 0 and 2; 33 % of them are 0
    [2, 0, 0]
    [0, 0, 0]
    [0, 0, 2]
    """
    return Jacobian(Chain(rec.node(node), rec.node(input)))


def _unit(shape: tuple[int, ...], index: Any, dtype: Any) -> Array:
    where = index if isinstance(index, tuple) else (index,)
    if len(where) != len(shape) or any(not -n <= i < n for i, n in zip(where, shape, strict=False)):
        raise RecordError(f"jacobian: {index!r} is no element of shape {shape}. Give one index for each dimension.")
    unit = np.zeros(shape, dtype)
    unit[where] = 1
    return unit


def _spread(size: int) -> Array:
    return np.unique(np.linspace(0, size - 1, min(size, SIDE)).astype(int))


__all__ = ["Jacobian", "jacobian"]
