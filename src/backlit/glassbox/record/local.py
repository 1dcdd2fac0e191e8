"""The local gradient of one edge: ∂output/∂input of a single operation, asked from the operation's own rules.

Nothing is derived a second time here. An operation that works element by element has a diagonal; all others have a
Jacobian that is never written out unless asked for: a row is the rule run on a unit upstream gradient, a column is the
forward-mode rule run on a unit tangent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import BacklitError, RecordError
from ...function import _Own, _Part
from ...graph import Node, enable_grad, no_grad
from ...numerics import quiet
from ...ops.definition import record as record_node
from ...ops.elementwise import Elementwise
from ...tensor import Tensor

if TYPE_CHECKING:
    from .nodes import Edge

Array = NDArray[Any]
Index = int | tuple[int, ...]

SMALL = 4096
"""Jacobians with up to this many entries are written out when a local gradient is described."""

Kind = Literal["scalar", "diagonal", "matrix", "implicit"]


class Local:
    """The local gradient of an edge, ∂(the operation's output)/∂(one input).

    ``kind`` is ``"scalar"`` (both are single numbers), ``"diagonal"`` (the operation works element by element:
    ``value`` holds one slope for each element of the output), ``"matrix"`` (few entries: ``value`` has the output's
    shape followed by the input's), or ``"implicit"`` (too large to write out; ask for rows and columns).

    >>> import backlit as bl
    >>> x = bl.tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> bl.explain(y).node("x").users[0].local.value
    array([1., 2.], dtype=float32)
    """

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def __repr__(self) -> str:
        try:
            return f"<{self.describe()}>"
        except BacklitError:  # of an operation of the user's own, or values that were not kept
            return f"<{self._name}>"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The output's shape followed by the input's."""
        return (*self.edge.target.shape, *self.edge.source.shape)

    @cached_property
    def kind(self) -> Kind:
        """See the class."""
        if self.shape == ():
            return "scalar"
        if issubclass(self.edge.target.definition, Elementwise):
            return "diagonal"
        return "matrix" if math.prod(self.shape) <= SMALL else "implicit"

    @cached_property
    def value(self) -> Array | None:
        """The number, the diagonal, or the whole Jacobian; None where it is implicit."""
        if self.kind == "implicit":
            return None
        if self.kind == "matrix":
            return self.matrix()
        return self._slopes()

    def row(self, index: Index = ()) -> Array:
        """How one element of the output depends on all elements of the input: an array of the input's shape.

        Args:
            index: the element of the output.
        """
        unit = np.zeros(self.edge.target.shape, self.edge.target.dtype)
        unit[self._inside(index, unit.shape, "output")] = 1
        return self.pull(unit)

    def column(self, index: Index = ()) -> Array:
        """How all elements of the output depend on one element of the input: an array of the output's shape.

        Args:
            index: the element of the input.
        """
        source = self.edge.source
        unit = np.zeros(source.shape, source.dtype)
        unit[self._inside(index, unit.shape, "input")] = 1
        return self.push(unit)

    def matrix(self) -> Array:
        """The whole Jacobian, of the output's shape followed by the input's; row by row."""
        target, source = self.edge.target, self.edge.source
        size = math.prod(target.shape)
        node = self._node
        rows = [self._pull(node, row.reshape(target.shape)) for row in np.eye(size, dtype=target.dtype)]
        return np.array(rows, source.dtype).reshape(self.shape)

    def pull(self, upstream: Array) -> Array:
        """The vector-Jacobian product: what ``upstream`` contributes to the input."""
        return self._pull(self._node, upstream)

    def push(self, tangent: Array) -> Array:
        """The Jacobian-vector product: how the output moves when the input moves along ``tangent``."""
        node = self._node
        tangents: list[Any] = [None] * len(self._tensors)
        tangents[self.edge.position] = Tensor(np.asarray(tangent))
        with enable_grad(), quiet():
            out = node.op.push(node, tuple(self._tensors), self._output, tangents)
        return np.broadcast_to(np.asarray(out._data), self.edge.target.shape)

    @property
    def _name(self) -> str:
        return f"∂{self.edge.target.name}/∂{self.edge.source.name}"

    def describe(self) -> str:
        """The local gradient in one line, such as ``∂s/∂ŷ = 1``."""
        name = self._name
        target, source = (("×".join(map(str, n.shape)) or "1") for n in (self.edge.target, self.edge.source))
        if self.kind == "scalar":
            return f"{name} = {float(self._slopes()):.6g}"
        if self.kind == "diagonal":
            return f"{name} is diagonal: one slope for each of {target} elements"
        return f"{name} is a Jacobian of ({target}) × ({source}): {self.edge.target.gate or self.edge.target.op}"

    # -- asking the operation --------------------------------------------------------------------------------------

    def _slopes(self) -> Array:
        """The diagonal, before broadcasting is undone: the forward-mode rule of a unit tangent everywhere."""
        source = self.edge.source
        if issubclass(self.edge.target.definition, Elementwise):
            return self.push(np.ones(source.shape, source.dtype)).copy()
        return self.pull(np.ones(self.edge.target.shape, self.edge.target.dtype))

    def _pull(self, node: Node, upstream: Array) -> Array:
        with no_grad(), quiet():
            part = node.op.pull(node, upstream, False)[self.edge.position]
        if isinstance(part, _Part):
            part = next(iter(part.parts.values()))
        part = part.total() if hasattr(part, "total") else part
        return np.array(part._data if isinstance(part, Tensor) else part)

    @cached_property
    def _tensors(self) -> Sequence[Any]:
        return [Tensor(v) if isinstance(v, np.ndarray) else v for v in self.edge.target.input_values()]

    @cached_property
    def _output(self) -> Tensor:
        return Tensor(self.edge.target.known_value())

    @cached_property
    def _node(self) -> Node:
        """The operation's node once more, made from the recorded values, wanting this input's gradient."""
        target = self.edge.target
        if issubclass(target.definition, _Own):
            raise RecordError(
                f"{target.name}: {target.op} is an operation of your own; of its local gradients only what it handed "
                "down is known. Use check.gradients on it, or call its backward yourself."
            )
        tensors, out = self._tensors, self._output
        arrays = [getattr(t, "_data", t) for t in tensors]
        tensors[self.edge.position]._requires_grad = True
        with enable_grad():
            record_node(target.definition, tensors, arrays, target.params, 1 << self.edge.position, out, target.extra)
        assert out._node is not None
        return out._node

    def _inside(self, index: Index, shape: tuple[int, ...], what: str) -> tuple[int, ...]:
        where = index if isinstance(index, tuple) else (index,)
        if len(where) != len(shape) or any(not -n <= i < n for i, n in zip(where, shape, strict=False)):
            raise RecordError(
                f"{self.edge.target.name}: the {what} has shape {shape}; {index!r} is no element of it. Give one index "
                "for each dimension."
            )
        return where
