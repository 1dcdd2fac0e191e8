"""Products of few rows with a matrix whose columns lie contiguous: scalar products, each along k in whole vectors.

Packing such a matrix into panels costs as much as reading it, which is all that a product with one row does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .gemm_plan import Gemm
from .gemm_tile import Epilogue, Tile
from .subroutines import Subroutines
from .values import Pointer, Value
from .vector import VectorBuilder


class DotProducts:
    """Emits a product as scalar products, some columns at a time; sums go through a small buffer to the epilogue."""

    def __init__(self, b: VectorBuilder, spec: Gemm, pointers: Sequence[Pointer], epilogue: Epilogue | None) -> None:
        self.b, self.spec, self.epilogue = b, spec, epilogue
        self.left, self.right, self.out, *self.extras = pointers
        self.together = min((b.target.registers - 2 - spec.m) // spec.m, 8)
        self.stride = -(-spec.n // b.lanes) * b.lanes
        self.sums = b.array(spec.m * self.stride)
        self.tiles = Subroutines(b)

    def emit(self) -> None:
        """All columns, then the epilogue on whole vectors of sums."""
        spec, together = self.spec, self.together
        whole = spec.n - spec.n % together
        self.b.loop(0, whole, together, lambda j: self._columns(j, together))
        if whole < spec.n:
            self._columns(whole, spec.n - whole)
        self.b.sweep(spec.n, self._finish)

    def _columns(self, j: Any, count: int) -> None:
        column = self.right + j * self.spec.b_strides[1]
        self.tiles.call(count, [self.left, column, self.sums + j], lambda b, *pointers: self._sums(b, count, *pointers))

    def _sums(self, b: VectorBuilder, count: int, left: Pointer, right: Pointer, out: Pointer) -> None:
        spec = self.spec

        def step(k: Any, totals: Sequence[Value], mask: Value | None = None) -> list[Value]:
            rows = [left.load(i * spec.a_strides[0] + k, mask=mask) for i in range(spec.m)]
            following = []
            for j in range(count):
                y = right.load(j * spec.b_strides[1] + k, mask=mask)
                following += [b.muladd(x, y, totals[j * spec.m + i]) for i, x in enumerate(rows)]
            return following

        whole = spec.k - spec.k % b.lanes
        zeros = [b.number(0.0)] * (count * spec.m)
        totals = b.loop(0, whole, b.lanes, lambda k, *totals: step(k, totals), zeros)
        if whole < spec.k:
            totals = step(whole, totals, b.first(spec.k - whole))
        for place, total in enumerate(totals):
            j, i = divmod(place, spec.m)
            out.store(b.sum(total), i * self.stride + j)

    def _finish(self, j: Any, mask: Value | None) -> None:
        b, spec = self.b, self.spec
        grid = [[self.sums.load(i * self.stride + j)] for i in range(spec.m)]
        if spec.accumulate:
            grid = [[x + self.out.load(i * spec.c_stride + j, mask=mask)] for i, [x] in enumerate(grid)]
        values: Sequence[Sequence[Value]] | None = grid
        if self.epilogue is not None:
            values = self.epilogue(b, Tile(grid, b.index(0), b.index(j), [mask]), *self.extras)
        for i, row in enumerate(values or ()):
            (self.out + j).store(row[0], i * spec.c_stride, mask)


__all__ = ["DotProducts"]
