"""Rows of a table by number, and the sums of rows back into it: an embedding and its gradient.

Numbers outside the table are counted and otherwise passed over: nothing is read or written for them but zeros.
"""

from __future__ import annotations

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

            def copy(j: Any, mask: Value | None) -> None:
                into.store(b.where(inside, source.load(j, mask=mask), 0.0), j, mask)

            b.sweep(spec.width, copy, unroll=4)
            return [b.where(inside, wrong, wrong + 1)]

        [wrong] = b.loop(0, spec.count, 1, row, [Value(b, constant(0, INT64))])
        outside.store(wrong)
    return module.globals[name]


def emit_add(module: ir.Module, name: str, spec: RowLookup, target: Target | None = None) -> ir.Function:
    """Define ``void name(g, numbers, table)``: adds each row of g, in order, to its number's in a cleared table."""
    with function(module, name, [spec.dtype, "int64", spec.dtype], target, spec.dtype) as (b, g, numbers, table):
        zero = b.number(0.0)
        b.sweep(spec.rows * spec.width, lambda i, mask: table.store(zero, i, mask), unroll=4)

        def row(i: Any) -> None:
            number = numbers.load(i, 0)
            wanted = _inside(spec, number)
            if spec.skip is not None:
                wanted = wanted & (number != spec.skip)
            with b.when(wanted):
                _add_row(b, spec, g + i * spec.width, table + number * spec.width)

        b.loop(0, spec.count, 1, row)
    return module.globals[name]


def _add_row(b: VectorBuilder, spec: RowLookup, part: Pointer, total: Pointer) -> None:
    def add(j: Any, mask: Value | None) -> None:
        total.store(total.load(j, mask=mask) + part.load(j, mask=mask), j, mask)

    b.sweep(spec.width, add, unroll=4)


def _inside(spec: RowLookup, number: Value) -> Value:
    return (number >= 0) & (number < spec.rows)


__all__ = ["RowLookup", "emit_add", "emit_take"]
