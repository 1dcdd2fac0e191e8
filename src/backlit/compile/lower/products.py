"""Matrix products and affine maps."""

from __future__ import annotations

from typing import Any

from ...ops.linalg import Linear, Matmul
from ...ops.products import Dot
from ..ir.build import Builder
from ..ir.program import Value
from .table import lowering


@lowering(Matmul, rules="traced")
def matmul(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """A product; a batch times one matrix is one large product, and vectors are matrices of one row or column."""
    return product(builder, *inputs)


def product(builder: Builder, a: Value, b: Value) -> Value:
    """``a @ b`` of values with one dimension or more."""
    left = builder.reshape(a, (1, a.size)) if a.ndim == 1 else a
    right = builder.reshape(b, (b.size, 1)) if b.ndim == 1 else b
    made = _rows(builder, left, right) if right.ndim == 2 and left.ndim > 2 else builder.matmul(left, right)
    rows, columns = made.shape[-2:-1] if a.ndim > 1 else (), made.shape[-1:] if b.ndim > 1 else ()
    return builder.reshape(made, (*made.shape[:-2], *rows, *columns))


@lowering(Linear, rules="traced")
def linear(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """``x Wᵀ + b`` of the last dimension."""
    x, weight, *bias = inputs
    if x.ndim < 1:
        return None
    y = _rows(builder, x, builder.permute(weight, (1, 0)))
    return builder.elementwise("add", y, bias[0]) if bias and bias[0] is not None else y


def _rows(builder: Builder, a: Value, b: Value) -> Value:
    """``a b`` for one matrix ``b``, the leading dimensions of ``a`` taken as rows."""
    rows = builder.reshape(a, (a.size // max(a.shape[-1], 1) if a.size else _count(a.shape[:-1]), a.shape[-1]))
    return builder.reshape(builder.matmul(rows, b), (*a.shape[:-1], b.shape[-1]))


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


@lowering(Dot, rules="traced")
def dot(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The inner product of two vectors."""
    return builder.reduce("sum", builder.elementwise("mul", *inputs))
