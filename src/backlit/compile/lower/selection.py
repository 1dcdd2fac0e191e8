"""Entries picked along a dimension by index, and gradients put back to them: ``max(dim)``, ``sort``, ``topk`` …

The indices were computed by the program itself, so they lie inside, and none comes twice in a line.
"""

from __future__ import annotations

from typing import Any

from ...ops.selection import Pick, PutBack
from ..ir.build import Builder
from ..ir.program import Value
from .extremes import kept
from .lookups import column, lookups_take, positions_along, put, taken
from .table import lowering

Params = dict[str, Any]


def _with_dimension(b: Builder, index: Value, params: Params) -> Value:
    """An index, or what was picked by it, that has the dimension that was picked from."""
    axis = params["axis"]
    return index if params["kept"] else b.reshape(index, (*index.shape[:axis], 1, *index.shape[axis:]))


def _places(b: Builder, size: int, axis: int, ndim: int) -> Value:
    """0, 1, 2 … along one of ``ndim`` dimensions."""
    return b.reshape(b.iota(size), tuple(size if d == axis else 1 for d in range(ndim)))


@lowering(Pick, rules="traced")
def pick(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Elements by number."""
    x, index = inputs
    if not x.shape:
        return x
    if not lookups_take(x, index):
        return None
    numbers = positions_along(b, _with_dimension(b, index, params), x.shape, params["axis"])
    return b.reshape(taken(b, column(b, x), numbers), like.shape)


@lowering(PutBack, rules="traced")
def put_back(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Where one entry a line was picked, it is told by its place, which is a loop; where more were, they are put."""
    x, index = inputs
    if not like.shape:
        return x
    if not lookups_take(x, index):
        return None
    axis = params["axis"]
    x, index = _with_dimension(b, x, params), _with_dimension(b, index, params)
    if index.shape == kept(like.shape, axis):
        here = b.elementwise("eq", _places(b, like.shape[axis], axis, like.ndim), index)
        return b.elementwise("where", here, x, b.constant(0, x.dtype))
    zeros = b.expand(b.constant(0, x.dtype), (like.size, 1))
    return b.reshape(put(b, zeros, column(b, x), positions_along(b, index, like.shape, axis)), like.shape)
