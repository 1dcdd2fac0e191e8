"""Products of few rows with a matrix whose columns lie contiguous: scalar products, each along k in whole vectors.

Packing such a matrix into panels costs as much as reading it, which is all that a product with one row does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .gemm_plan import Gemm, dot_shape, even_groups
from .gemm_tile import Epilogue, Tile
from .subroutines import Subroutines
from .values import Pointer, Value
from .vector import VectorBuilder


class DotProducts:
    """Emits a product as scalar products, some rows and columns at a time; sums go through a small buffer."""

    def __init__(self, b: VectorBuilder, spec: Gemm, pointers: Sequence[Pointer], epilogue: Epilogue | None) -> None:
        self.b, self.spec, self.epilogue = b, spec, epilogue
        self.left, self.right, self.out, *self.extras = pointers
        rows, self.columns = dot_shape(spec, b.target)
        self.groups = even_groups(spec.m, rows)
        self.stride = -(-spec.n // b.lanes) * b.lanes
        self.sums = b.array(max(rows for _, _, rows in self.groups) * self.stride)
        self.tiles = Subroutines(b)

    def emit(self) -> None:
        """Some rows after the other: all columns, then the epilogue on whole vectors of sums."""
        for start, stop, rows in self.groups:
            self.b.loop(start, stop, rows, lambda i, rows=rows: self._rows(i, rows))

    def _rows(self, i: Any, rows: int) -> None:
        spec = self.spec
        left, together = self.left + i * spec.a_strides[0], self.columns
        whole = spec.n - spec.n % together

        def columns(j: Any, count: int) -> None:
            self.tiles.call(
                (rows, count),
                [left, self.right + j * spec.b_strides[1], self.sums + j],
                lambda b, *pointers: self._sums(b, rows, count, *pointers),
            )

        self.b.loop(0, whole, together, lambda j: columns(j, together))
        if whole < spec.n:
            columns(whole, spec.n - whole)
        self.b.sweep(spec.n, lambda j, mask: self._finish(i, rows, j, mask))

    def _sums(self, b: VectorBuilder, rows: int, count: int, left: Pointer, right: Pointer, out: Pointer) -> None:
        spec = self.spec

        def step(k: Any, totals: Sequence[Value], mask: Value | None = None) -> list[Value]:
            held = [left.load(i * spec.a_strides[0] + k, mask=mask) for i in range(rows)]
            following = []
            for j in range(count):
                y = right.load(j * spec.b_strides[1] + k, mask=mask)
                following += [b.muladd(x, y, totals[j * rows + i]) for i, x in enumerate(held)]
            return following

        whole = spec.k - spec.k % b.lanes
        zeros = [b.number(0.0)] * (count * rows)
        totals = b.loop(0, whole, b.lanes, lambda k, *totals: step(k, totals), zeros)
        if whole < spec.k:
            totals = step(whole, totals, b.first(spec.k - whole))
        for place, total in enumerate(totals):
            j, i = divmod(place, rows)
            out.store(b.sum(total), i * self.stride + j)

    def _finish(self, i: Any, rows: int, j: Any, mask: Value | None) -> None:
        b, spec = self.b, self.spec
        out = self.out + i * spec.c_stride + j
        grid = [[self.sums.load(r * self.stride + j)] for r in range(rows)]
        if spec.accumulate:
            grid = [[x + out.load(r * spec.c_stride, mask=mask)] for r, [x] in enumerate(grid)]
        values: Sequence[Sequence[Value]] | None = grid
        if self.epilogue is not None:
            values = self.epilogue(b, Tile(grid, b.index(i), b.index(j), [mask]), *self.extras)
        for r, row in enumerate(values or ()):
            out.store(row[0], r * spec.c_stride, mask)


__all__ = ["DotProducts"]
