"""Rows of a table by number, and rows added or put back into it: an embedding and its gradient, and all look-ups.

Numbers outside the table are counted and otherwise passed over: nothing is read or written for them but zeros. Rows of
width 1 are single elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .target import Target
from .values import INT64, Pointer, Value, constant
from .vector import VectorBuilder, function


@dataclass(frozen=True)
class RowLookup:
    """``count`` numbers (int64) into a table of ``rows × width``; ``skip`` is a number that receives no gradient."""

    count: int
    rows: int
    width: int
    skip: int | None = None
    dtype: str = "float32"


def emit_take(module: ir.Module, name: str, spec: RowLookup, target: Target | None = None) -> ir.Function:
    """Define ``void name(table, numbers, out, outside)``; ``outside[0]`` (int64): how many numbers lie outside."""
    pointers = [spec.dtype, "int64", spec.dtype, "int64"]
    with function(module, name, pointers, target, spec.dtype) as (b, table, numbers, out, outside):

        def row(i: Any, wrong: Value) -> list[Value]:
            number = numbers.load(i, 0)
            inside = _inside(spec, number)
            source = table + b.where(inside, number, 0) * spec.width
            into = out + i * spec.width
            _each(b, spec, lambda j, *part: into.store(b.where(inside, source.load(j, *part), 0), j, *part[1:]))
            return [b.where(inside, wrong, wrong + 1)]

        [wrong] = b.loop(0, spec.count, 1, row, [Value(b, constant(0, INT64))])
        outside.store(wrong)
    return module.globals[name]


def emit_add(module: ir.Module, name: str, spec: RowLookup, target: Target | None = None) -> ir.Function:
    """Define ``void name(g, numbers, table)``: adds each row of g, in order, to its number's in a cleared table."""
    with function(module, name, [spec.dtype, "int64", spec.dtype], target, spec.dtype) as (b, g, numbers, table):
        zero = b.number(0.0)
        b.sweep(spec.rows * spec.width, lambda i, mask: table.store(zero, i, mask), unroll=4)

        def add(part: Pointer, total: Pointer) -> None:
            _each(b, spec, lambda j, *p: total.store(total.load(j, *p) + part.load(j, *p), j, *p[1:]))

        _rows_in_order(b, spec, g, numbers, table, add)
    return module.globals[name]


def emit_put(module: ir.Module, name: str, spec: RowLookup, target: Target | None = None) -> ir.Function:
    """Define ``void name(before, values, numbers, table)``: the table ``before``, its rows replaced, in order."""
    pointers = [spec.dtype, spec.dtype, "int64", spec.dtype]
    with function(module, name, pointers, target, spec.dtype) as (b, before, values, numbers, table):
        b.sweep(spec.rows * spec.width, lambda i, mask: table.store(before.load(i, mask=mask), i, mask), unroll=4)

        def put(part: Pointer, total: Pointer) -> None:
            _each(b, spec, lambda j, *p: total.store(part.load(j, *p), j, *p[1:]))

        _rows_in_order(b, spec, values, numbers, table, put)
    return module.globals[name]


def _rows_in_order(
    b: VectorBuilder,
    spec: RowLookup,
    values: Pointer,
    numbers: Pointer,
    table: Pointer,
    body: Callable[[Pointer, Pointer], None],
) -> None:
    """``body(row of values, row of the table)`` for every number that lies inside."""

    def row(i: Any) -> None:
        number = numbers.load(i, 0)
        wanted = _inside(spec, number)
        if spec.skip is not None:
            wanted = wanted & (number != spec.skip)
        with b.when(wanted):
            body(values + i * spec.width, table + number * spec.width)

    b.loop(0, spec.count, 1, row)


def _each(b: VectorBuilder, spec: RowLookup, body: Callable[..., None]) -> None:
    """``body(j, lanes, mask)`` for the vectors of a row, or its one element."""
    if spec.width == 1:
        body(0, 0, None)
    else:
        b.sweep(spec.width, lambda j, mask: body(j, None, mask), unroll=4)


def _inside(spec: RowLookup, number: Value) -> Value:
    return (number >= 0) & (number < spec.rows)


__all__ = ["RowLookup", "emit_add", "emit_put", "emit_take"]
