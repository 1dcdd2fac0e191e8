"""Contractions of two operands, which einsum is made of: matrix products, or products that are summed."""

from __future__ import annotations

from math import prod
from typing import Any

from ...ops.contraction import Contract, Labels, route
from ..ir.build import Builder
from ..ir.program import Value
from .table import lowering


@lowering(Contract, rules="traced")
def contract(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """As a matrix product after permutations where eager mode does so, otherwise element by element."""
    x, y = inputs
    if not (x.size and y.size):
        return None
    way = route(*params["labels"])
    if way.left is None:
        return _element_by_element(b, x, y, *params["labels"])
    batch, own, summed, _ = way.counts
    x, y = b.permute(x, way.left), b.permute(y, way.right)
    front, rows, columns = x.shape[:batch], x.shape[batch : batch + own], y.shape[batch + summed :]
    depth = prod(x.shape[batch + own :])
    left, right = b.reshape(x, (*front, prod(rows), depth)), b.reshape(y, (*front, depth, prod(columns)))
    return b.permute(b.reshape(b.matmul(left, right), (*front, *rows, *columns)), way.order)


def _element_by_element(b: Builder, x: Value, y: Value, of_x: Labels, of_y: Labels, of_out: Labels) -> Value:
    """Both operands over all dimensions, multiplied, and summed over those that the result has not."""
    every = (*of_out, *[n for n in of_x if n not in of_out])
    product = b.elementwise("mul", _stretched(b, x, of_x, every), _stretched(b, y, of_y, every))
    summed = tuple(range(len(of_out), len(every)))
    return b.reduce("sum", product, summed) if summed else product


def _stretched(b: Builder, x: Value, labels: Labels, every: Labels) -> Value:
    """Dimensions in the order of ``every``, with size 1 where the operand has none."""
    moved = b.permute(x, tuple(labels.index(n) for n in every if n in labels))
    return b.reshape(moved, tuple(x.shape[labels.index(n)] if n in labels else 1 for n in every))
