"""Diagonals read from matrices, and matrices made of diagonals."""

from __future__ import annotations

from typing import Any

from ...ops.slicing import Diagonal, DiagonalMatrix
from ..ir.build import Builder
from ..ir.program import Value
from .joining import padded
from .table import lowering

Params = dict[str, Any]


@lowering(Diagonal, rules="traced")
def diagonal(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Of a matrix as a row, every so many elements: a view."""
    (x,), (offset, *dims) = inputs, params.values()
    if not like.size:
        return b.expand(b.constant(0, x.dtype), like.shape)
    others = [d for d in range(x.ndim) if d not in dims]
    x = b.permute(x, (*others, *dims))
    (*front, rows, columns), count = x.shape, like.shape[-1]
    row = b.reshape(x, (*front, rows * columns))
    starts = (*[0] * len(front), max(offset, 0) + max(-offset, 0) * columns)
    return b.slice(row, starts, (*[1] * len(front), columns + 1), (*front, count))


@lowering(DiagonalMatrix, rules="traced")
def diagonal_matrix(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Row by row the element of the diagonal where row and column say so, else 0."""
    (x,), (_, offset, *dims) = inputs, params.values()
    if not x.size:
        return b.expand(b.constant(0, x.dtype), like.shape)
    rows, columns = (like.shape[d] for d in dims)
    above = max(-offset, 0)
    edges = [(0, 0)] * (x.ndim - 1) + [(above, rows - above - x.shape[-1])]
    of_row = b.reshape(padded(b, x, edges), (*x.shape[:-1], rows, 1))
    places = b.elementwise("add", b.reshape(b.iota(rows), (rows, 1)), offset)
    here = b.elementwise("eq", b.iota(columns), places)
    made = b.elementwise("where", here, of_row, b.constant(0, x.dtype))
    order = [d for d in range(like.ndim) if d not in dims] + dims
    return b.permute(made, tuple(order.index(d) for d in range(like.ndim)))
