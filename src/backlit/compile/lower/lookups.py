"""Look-ups by positions and their gradients: embeddings, index arrays, gather and scatter.

All of them are rows of a table taken by number, added up, or put in place; where positions lie scattered, rows have one
element. A position outside fails an assumption of the program, and the function runs eagerly, which raises.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...ops.gathering import Gather, GatherSum, Scatter
from ...ops.indexing import Index, IndexSum
from ...ops.lookup import Embedding, OneHot
from ...ops.scatter_sum import result_place
from ..codegen.row_lookup import RowLookup
from ..ir.build import Builder
from ..ir.layout import row_major
from ..ir.program import Value
from ..leaves.leaf import emit_leaf
from ..leaves.lookup import AddRows, PutRows, TakeRows
from .shape import unbroadcast
from .table import lowering, pulls

Array = np.ndarray
Params = dict[str, Any]

_COUNTED = np.dtype(np.int64)
_TABLES = frozenset(np.dtype(t) for t in (np.float32, np.float64, np.int64, np.int32))


def taken(b: Builder, table: Value, numbers: Value) -> Value:
    """Rows of a matrix by number; all numbers must be inside."""
    (rows, width), (count,) = table.shape, numbers.shape

    def meaning(table: Array, numbers: Array) -> tuple[Array, Array]:
        inside = (numbers >= 0) & (numbers < rows)
        return np.where(inside[:, None], table[np.where(inside, numbers, 0)], 0), np.asarray((~inside).sum())

    leaf = TakeRows(RowLookup(count, rows, width, dtype=_name(table)))
    made = emit_leaf(b, leaf, [table, numbers], [((count, width), table.dtype), ((), _COUNTED)], meaning)
    b.require(b.cast(made[1], np.float32))
    return made[0]


def added(b: Builder, values: Value, numbers: Value, rows: int) -> Value:
    """A matrix with rows of ``values`` added up by number."""
    count, width = values.shape

    def meaning(values: Array, numbers: Array) -> tuple[Array]:
        total = np.zeros((rows, width), values.dtype)
        np.add.at(total, numbers, values)
        return (total,)

    leaf = AddRows(RowLookup(count, rows, width, dtype=_name(values)))
    return emit_leaf(b, leaf, [values, numbers], [((rows, width), values.dtype)], meaning)[0]


def put(b: Builder, before: Value, values: Value, numbers: Value) -> Value:
    """A matrix with rows replaced by number; the last of several stays."""
    (rows, width), (count, _) = before.shape, values.shape

    def meaning(before: Array, values: Array, numbers: Array) -> tuple[Array]:
        total = before.copy()
        for number, row in zip(numbers, values, strict=True):
            total[number] = row
        return (total,)

    leaf = PutRows(RowLookup(count, rows, width, dtype=_name(before)))
    return emit_leaf(b, leaf, [before, values, numbers], [((rows, width), before.dtype)], meaning)[0]


def _name(table: Value) -> str:
    assert table.dtype is not None
    return table.dtype.name


def _numbers(b: Builder, index: Value) -> Value:
    """An index as the kernels want it."""
    return b.reshape(b.cast(index, _COUNTED), (index.size,))


def _require_inside(b: Builder, index: Value, lowest: int, size: int) -> None:
    wrong = b.elementwise("or", b.elementwise("lt", index, lowest), b.elementwise("ge", index, size))
    b.require(b.reduce("sum", b.cast(wrong, np.float32)))


def lookups_take(*values: Any) -> bool:
    """Whether the kernels take these: a table's dtype is theirs, and nothing is empty."""
    return all(isinstance(v, Value) and v.size and v.dtype in _TABLES for v in values)


# -- rows ---------------------------------------------------------------------------------------------------------


@lowering(Embedding, rules="traced")
def embedding(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Rows of a table."""
    index, weight = inputs
    if not lookups_take(index, weight):
        return None
    return b.reshape(taken(b, weight, _numbers(b, index)), like.shape)


class Indexed:
    """Dimensions of ``shape`` that index arrays stand at; the others make up a row."""

    def __init__(self, b: Builder, shape: tuple[int, ...], indices: list[Value], dims: tuple[int, ...]) -> None:
        self.b = b
        self.dims = dims
        self.others = [d for d in range(len(shape)) if d not in dims]
        self.sizes = [shape[d] for d in dims]
        self.width = prod(shape[d] for d in self.others)
        self.rest = [shape[d] for d in self.others]
        self.shape = np.broadcast_shapes(*[i.shape for i in indices])
        self.place = result_place(list(dims))
        self.numbers = b.reshape(b.expand(self._positions(indices), self.shape), (prod(self.shape),))

    def _positions(self, indices: list[Value]) -> Value:
        """Row numbers, counted from the front."""
        b = self.b
        total: Value | None = None
        for index, size, step in zip(indices, self.sizes, row_major(tuple(self.sizes)), strict=True):
            index = b.cast(index, _COUNTED)
            _require_inside(b, index, -size, size)
            index = b.elementwise("where", b.elementwise("lt", index, 0), b.elementwise("add", index, size), index)
            part = b.elementwise("mul", index, step)
            total = part if total is None else b.elementwise("add", total, part)
        assert total is not None
        return total

    def table(self, x: Value) -> Value:
        """The indexed dimensions in front and together, the others as columns."""
        return self.b.reshape(self.b.permute(x, (*self.dims, *self.others)), (prod(self.sizes), self.width))

    def whole(self, table: Value) -> Value:
        """The other way."""
        order = (*self.dims, *self.others)
        apart = self.b.reshape(table, (*self.sizes, *self.rest))
        return self.b.permute(apart, tuple(order.index(d) for d in range(len(order))))

    def result(self, rows: Value) -> Value:
        """Rows as the look-up's result: the indices' dimensions where the indexed ones were, or first."""
        n, lead = len(self.shape), self.place
        apart = self.b.reshape(rows, (*self.shape, *self.rest))
        order = [*range(n, n + lead), *range(n), *range(n + lead, apart.ndim)]
        return self.b.permute(apart, tuple(order))

    def rows(self, result: Value) -> Value:
        """The other way."""
        n, lead = len(self.shape), self.place
        order = [*range(lead, lead + n), *range(lead), *range(lead + n, result.ndim)]
        return self.b.reshape(self.b.permute(result, tuple(order)), (prod(self.shape), self.width))


@lowering(Index, rules="traced")
def index(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Elements or slices at index arrays; masks are left to NumPy."""
    x, *indices = inputs
    if not lookups_take(x, *indices):
        return None
    at = Indexed(b, x.shape, indices, params["dims"])
    return at.result(taken(b, at.table(x), at.numbers))


@lowering(IndexSum, rules="traced")
def index_sum(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Zeros with values added at index arrays."""
    x, *indices = inputs
    if not lookups_take(x, *indices):
        return None
    at = Indexed(b, like.shape, indices, params["dims"])
    return at.whole(added(b, at.rows(x), at.numbers, prod(at.sizes)))


# -- single elements ----------------------------------------------------------------------------------------------


def column(b: Builder, x: Value) -> Value:
    """Elements as rows of a table."""
    return b.reshape(x, (x.size, 1))


def positions_along(b: Builder, index: Value, shape: tuple[int, ...], dim: int) -> Value:
    """The position in ``shape`` of each entry of an index: its own place, but at ``index`` along ``dim``."""
    index = b.cast(index, _COUNTED)
    total = index
    for d, step in enumerate(row_major(shape)):
        if d == dim:
            part = b.elementwise("mul", index, step)
            total = part if d == 0 else b.elementwise("add", total, part)
        else:
            own = b.reshape(b.iota(index.shape[d]), tuple(-1 if e == d else 1 for e in range(index.ndim)))
            part = b.elementwise("mul", own, step)
            total = part if d == 0 else b.elementwise("add", total, part)
    return b.reshape(total, (index.size,))


def _given_along(b: Builder, index: Value, shape: tuple[int, ...], dim: int) -> Value:
    """The same for an index that the program was given."""
    _require_inside(b, index, 0, shape[dim])
    return positions_along(b, index, shape, dim)


@lowering(Gather, rules="traced")
def gather(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Elements along a dimension."""
    x, index = inputs
    if not lookups_take(x, index):
        return None
    return b.reshape(taken(b, column(b, x), _given_along(b, index, x.shape, params["dim"])), like.shape)


@lowering(GatherSum, rules="traced")
def gather_sum(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Elements added up along a dimension."""
    x, index = inputs
    if not lookups_take(x, index):
        return None
    numbers = _given_along(b, index, like.shape, params["dim"])
    return b.reshape(added(b, column(b, x), numbers, like.size), like.shape)


@lowering(Scatter)
def scatter(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Elements replaced along a dimension."""
    x, source, index = inputs
    if not lookups_take(x, index):
        return None
    return replaced_at(b, x, source, index.shape, _given_along(b, index, x.shape, params["dim"]))


@pulls(Scatter)
def scatter_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """Replaced elements pass their gradient to what replaced them last."""
    x, source, index = pull.inputs
    if not lookups_take(pull.g, index):
        return None
    return put_gradients(b, pull, source, index.shape, _given_along(b, index, x.shape, pull.params["dim"]))


def replaced_at(b: Builder, x: Value, values: Any, shape: tuple[int, ...], numbers: Value) -> Value:
    """``x`` with values, broadcast to ``shape``, put at positions."""
    given = b.as_value(values, x.dtype)
    extra = max(0, given.ndim - len(shape))  # values may have leading dimensions of size 1 more
    given = b.reshape(b.expand(b.reshape(given, given.shape[extra:]), shape), (prod(shape), 1))
    return b.reshape(put(b, column(b, x), given, numbers), x.shape)


def put_gradients(b: Builder, pull: Any, values: Any, shape: tuple[int, ...], numbers: Value) -> list[Value | None]:
    """Zeros at the positions for what was there; for the values those that were not overwritten by later ones."""
    g = pull.g
    made: list[Value | None] = [None] * len(pull.needs)
    if pull.needs[0]:
        made[0] = replaced_at(b, g, 0.0, shape, numbers)
    if pull.needs[1]:
        order = b.iota(prod(shape))
        nobody = b.expand(b.constant(-1, _COUNTED), (g.size, 1))
        slots = put(b, nobody, b.reshape(order, (prod(shape), 1)), numbers)
        stays = b.elementwise("eq", b.reshape(taken(b, slots, numbers), (prod(shape),)), order)
        part = b.elementwise("where", stays, b.reshape(taken(b, column(b, g), numbers), (prod(shape),)), 0.0)
        made[1] = unbroadcast(b, b.reshape(part, shape), values.shape)
    return made


@lowering(OneHot)
def one_hot(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value:
    """A 1 where the position is the index."""
    (index,) = inputs
    _require_inside(b, index, 0, params["num_classes"])
    places = b.cast(b.iota(params["num_classes"]), index.dtype)
    return b.cast(b.elementwise("eq", b.reshape(index, (*index.shape, 1)), places), like.dtype)
