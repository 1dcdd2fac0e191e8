"""Matrices copied into panels: a few columns wide, row after row without gaps, padded with zeros to whole vectors.

A panel is what the tile of a matrix product reads from first to last byte. A matrix that lies transposed in memory is
turned in registers on the way, a square of vectors at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .values import Pointer, Value
from .vector import VectorBuilder

_FAR = 16  # rows that are asked for beforehand: where they lie a page apart, no machine fetches them by itself
_MANY = 3  # vectors of columns from which on they are turned in a loop, so that code stays small
_BEYOND = 32  # elements further on along rows that are turned: there are too many for a machine to fetch them by itself


def transposed(b: VectorBuilder, rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of vectors, by exchanging ever larger blocks across the diagonal."""
    count = len(rows)
    rows, apart = list(rows), 1
    while apart < count:
        low = [i if not i & apart else count + i - apart for i in range(count)]
        high = [i + apart if not i & apart else count + i for i in range(count)]
        following = list(rows)
        for i in range(count):
            if not i & apart:
                following[i] = b.lanes_at(rows[i], low, rows[i + apart])
                following[i + apart] = b.lanes_at(rows[i], high, rows[i + apart])
        rows, apart = following, apart * 2
    return rows


def pack_rows(
    b: VectorBuilder, source: Pointer, stride: int, rows: int, columns: int, panel: Pointer, width: int
) -> None:
    """Copy ``rows × columns`` with contiguous columns into one panel of ``width`` columns, a multiple of the lanes."""

    def copy(k: Any) -> None:
        row, packed = source + k * stride, panel + k * width
        b.prefetch(row + _FAR * stride, columns)
        for j in range(0, width, b.lanes):
            left = columns - j
            mask = b.first(left) if left < b.lanes else None
            packed.store(b.number(0.0) if left <= 0 else row.load(j, mask=mask), j)

    b.loop(0, rows, 1, copy)


def pack_columns(
    b: VectorBuilder, source: Pointer, stride: int, rows: int, columns: int, panel: Pointer, width: int
) -> None:
    """The same from a matrix with contiguous rows: column j begins at ``source + j * stride``."""
    lanes = b.lanes
    looped = columns - columns % lanes if columns >= _MANY * lanes else 0

    def square(there: Pointer, packed: Pointer, wide: int, count: int) -> None:
        mask = b.first(count) if count < lanes else None
        for j in range(wide):
            b.prefetch(there + (j * stride + _BEYOND))
        held = [there.load(j * stride, mask=mask) if j < wide else b.number(0.0) for j in range(lanes)]
        for i, value in enumerate(transposed(b, held)[:count]):
            packed.store(value, i * width)

    def turn(k: Any, count: int) -> None:
        there, packed = source + k, panel + k * width
        b.loop(0, looped, lanes, lambda j: square(there + b.index(j) * stride, packed + j, lanes, count))
        for j in range(looped, width, lanes):
            square(there + j * stride, packed + j, min(max(columns - j, 0), lanes), count)

    whole = rows - rows % lanes
    b.loop(0, whole, lanes, lambda k: turn(k, lanes))
    if whole < rows:
        turn(whole, rows - whole)


def pack_narrow(
    b: VectorBuilder,
    source: Pointer,
    stride: int,
    depth: int,
    columns: Sequence[int],
    available: int,
    panels: Pointer,
    step: int,
) -> None:
    """Copy ``depth`` rows of neighbouring columns into panels of any width, a few columns each, without gaps.

    ``columns`` are the panels' widths; the panel of the columns from c on begins at ``panels + c * step``. Vectors are
    written whole: what they write beyond a panel's row is written over by the next row, or lies in a gap of one vector
    behind each panel. Of each row, ``available`` elements may be read.
    """
    starts = [sum(columns[:i]) for i in range(len(columns))]

    def copy(k: Any) -> None:
        row, packed = source + k * stride, {width: panels + k * width for width in dict.fromkeys(columns)}
        b.prefetch(row + _FAR * stride, sum(columns))
        for start, width in zip(starts, columns, strict=True):
            for column in range(start, start + width, b.lanes):
                left = available - column
                value = row.load(column, mask=b.first(left) if left < b.lanes else None)
                packed[width].store(value, start * step + column - start)

    b.loop(0, depth, 1, copy)


__all__ = ["pack_columns", "pack_narrow", "pack_rows", "transposed"]
