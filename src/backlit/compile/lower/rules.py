"""Gradient rules written down by running them on symbols: those that are made of operators and array methods.

Such a rule runs once on arrays, as in eager mode, and once on symbols, which append instructions. On tensors each of
its operations would have to pass by the tracer, which costs far more than the instructions.
"""

from __future__ import annotations

from typing import Any

from ...ops.definition import OUTPUT
from ...ops.linalg import Linear, Matmul
from ...ops.shape import Clone, Expand, Permute, Reshape
from ..ir.build import Builder
from ..ir.program import Value
from ..trace.extern import pull_arrays
from ..trace.scalars import Symbol
from .products import product
from .table import pulls


class ArraySymbol(Symbol):
    """A value that stands in for an array in a gradient rule."""

    __slots__ = ()

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.value.ndim

    @property
    def T(self) -> ArraySymbol:
        """Dimensions in reverse."""
        return self.transpose(tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> ArraySymbol:
        """The last two dimensions swapped."""
        return self.transpose((*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def transpose(self, dims: tuple[int, ...]) -> ArraySymbol:
        """Dimensions reordered."""
        return ArraySymbol(self.builder, self.builder.permute(self.value, dims))

    def reshape(self, shape: tuple[int, ...]) -> ArraySymbol:
        """The same elements in another shape."""
        return ArraySymbol(self.builder, self.builder.reshape(self.value, shape))

    def sum(self, axis: Any = None, keepdims: bool = False) -> ArraySymbol:
        """Sums over dimensions."""
        return ArraySymbol(self.builder, self.builder.reduce("sum", self.value, axis, keepdims))

    def __matmul__(self, other: ArraySymbol) -> ArraySymbol:
        return ArraySymbol(self.builder, product(self.builder, self.value, other.value))


@pulls(Clone, Expand, Linear, Matmul, Permute, Reshape)
def rules_on_symbols(builder: Builder, pull: Any) -> list[Value | None]:
    """The gradients that an operation's rules give."""
    node, given = pull.node, [*pull.inputs]
    kept = [pull.out if slot == OUTPUT else given[slot] if slot >= 0 else None for slot in node.plan.kept]
    values = [ArraySymbol(builder, v) if isinstance(v, Value) else v for v in kept]
    g: Any = ArraySymbol(builder, pull.g)
    parts = pull_arrays(node.plan, node, g, values)
    return [None if part is None else part.value for part in parts]
