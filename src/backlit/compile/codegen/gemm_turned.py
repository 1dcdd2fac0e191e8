"""Products whose transpose is cheaper, which is computed and in the end turned, a square at a time.

Few rows times a large matrix with contiguous columns, as layers have it, need that packed, all of it for a few rows of
A: ``C = A B``. ``Cᵀ = Bᵀ Aᵀ`` reads B as it lies, each element once for a tile's width of rows of A, and packs the
small A instead. And few columns, as the weight's gradient of a layer with few inputs has them, fill a few lanes of a
tile; as rows they fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .gemm_blocks import BlockedProduct
from .gemm_plan import Gemm, Plan
from .gemm_tile import Epilogue, Tile
from .packing import transposed
from .subroutines import Subroutines
from .values import Pointer
from .vector import VectorBuilder


class TurnedProduct:
    """Emits such a product; ``pointers`` are A, B, C, the workspace, and what the epilogue takes."""

    def __init__(
        self, b: VectorBuilder, spec: Gemm, cut: Plan, pointers: Sequence[Pointer], epilogue: Epilogue | None
    ) -> None:
        assert cut.turned is not None
        self.b, self.spec, self.epilogue = b, spec, epilogue
        self.turned, self.cut = cut.turned
        self.left, self.right, self.out, workspace, *self.extras = pointers
        self.sums, self.workspace = workspace, workspace + self.turned.m * self.turned.c_stride
        self.squares = Subroutines(b)

    def emit(self) -> None:
        pointers = [self.right, self.left, self.sums, self.workspace]
        BlockedProduct(self.b, self.turned, self.cut, pointers, None).emit()
        self._each(self.spec.m, lambda i, rows: self._each(self.spec.n, lambda j, n: self._square(i, rows, j, n)))

    def _each(self, count: int, body: Any) -> None:
        """``body(i, size)`` for vectors of ``count`` elements, and for the ragged last one."""
        lanes = self.b.lanes
        whole = count - count % lanes
        self.b.loop(0, whole, lanes, lambda i: body(i, lanes))
        if whole < count:
            body(whole, count - whole)

    def _square(self, i: Any, rows: int, j: Any, columns: int) -> None:
        at = self.sums + j * self.turned.c_stride + i
        out = self.out + i * self.spec.c_stride + j
        self.squares.call(
            (rows, columns),
            [at, out, i, j, *self.extras],
            lambda b, at, out, i, j, *extras: self._turn(b, (rows, columns), at, out, (i, j), extras),
        )

    def _turn(
        self,
        b: VectorBuilder,
        shape: tuple[int, int],
        at: Pointer,
        out: Pointer,
        here: tuple[Any, Any],
        extras: Sequence[Pointer],
    ) -> None:
        """Some rows of the result in one vector each, finished and stored."""
        (rows, columns), step = shape, self.spec.c_stride
        mask = b.first(columns) if columns < b.lanes else None
        square = [at.load(v * self.turned.c_stride) if v < columns else b.number(0.0) for v in range(b.lanes)]
        grid = [[x] for x in transposed(b, square)[:rows]]
        if self.spec.accumulate:
            grid = [[x + out.load(r * step, mask=mask)] for r, [x] in enumerate(grid)]
        values: Any = grid if self.epilogue is None else self.epilogue(b, Tile(grid, *here, [mask]), *extras)
        for r, row in enumerate(values or ()):
            out.store(row[0], r * step, mask)


__all__ = ["TurnedProduct"]
