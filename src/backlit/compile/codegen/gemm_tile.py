"""The tile of a matrix product: some rows times a panel's width in registers, summed along k, handed to an epilogue.

Each height and width is one subroutine, called from the loops, so that code stays small however a product is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .gemm_plan import Gemm, Panel, Plan
from .subroutines import Subroutines
from .tile_sum import Level, TileSum
from .values import Pointer, Value
from .vector import VectorBuilder


@dataclass
class Tile:
    """Accumulators ``values[i][v]``: row ``row + i``, columns from ``column + v * lanes``, those inside ``masks[v]``.

    ``row`` and ``column`` are 64-bit values; a mask is None where the whole vector is inside.
    """

    values: list[list[Value]]
    row: Any
    column: Any
    masks: list[Value | None]

    def map(self, f: Callable[[Value, Any, Any, Value | None], Value]) -> list[list[Value]]:
        """``f(value, row, column, mask)`` of every vector."""
        lanes = self.values[0][0].lanes
        return [
            [f(x, self.row + i, self.column + v * lanes, self.masks[v]) for v, x in enumerate(values)]
            for i, values in enumerate(self.values)
        ]


Epilogue = Callable[..., Sequence[Sequence[Value]] | None]
"""``epilogue(b, tile, *extras)`` returns the values to store in C, or None where nothing is to be stored there."""


class Touch(NamedTuple):
    """One of the extras that an epilogue reads or writes where the tile lies, and how many elements apart its rows
    are."""

    extra: int
    stride: int
    write: bool


def ask_for(
    b: VectorBuilder,
    touched: Sequence[Touch],
    extras: Sequence[Pointer],
    here: tuple[Value, Value],
    size: tuple[int, int],
) -> None:
    """Ask for what will be read or written of so many rows and vectors: it comes from memory while they are summed."""
    (row, column), (rows, vectors) = here, size
    for extra, stride, write in touched:
        place = extras[extra] + row * stride + column
        for r in range(rows):
            b.prefetch(place + r * stride, vectors * b.lanes, write=write)


class TileFunctions:
    """The tiles of one product as subroutines, one for each height and width."""

    def __init__(
        self,
        b: VectorBuilder,
        spec: Gemm,
        cut: Plan,
        epilogue: Epilogue | None,
        extras: Sequence[Pointer],
        touched: Sequence[Touch],
    ) -> None:
        self.spec, self.cut, self.epilogue, self.extras, self.touched = spec, cut, epilogue, extras, touched
        self.tiles = Subroutines(b)

    def call(
        self,
        rows: int,
        panel: Panel,
        addresses: Sequence[Pointer],
        numbers: Sequence[Any],
        fresh: Any,
        last: bool,
        packing: bool = False,
    ) -> None:
        """Run the tile on ``[left, right, out, ahead, packed]`` with ``[row, column, depth]``; ``fresh`` sums begin
        at 0.

        ``ahead`` is where the rows of A lie that come next. A tile that is ``packing`` reads B as it lies and puts the
        panel down at ``packed`` for those that follow."""
        self.tiles.call(
            (rows, panel.columns, packing),
            [*addresses, *numbers, fresh, last, *self.extras],
            lambda b, *arguments: _TileBody(b, self, rows, panel, packing).emit(
                arguments[:5], arguments[5:8], arguments[8:10], arguments[10:]
            ),
        )


class _TileBody:
    """What one tile function does."""

    def __init__(self, b: VectorBuilder, functions: TileFunctions, rows: int, panel: Panel, packing: bool) -> None:
        self.b, self.spec, self.cut, self.epilogue = b, functions.spec, functions.cut, functions.epilogue
        self.touched = functions.touched
        self.rows, self.vectors, self.masks = rows, panel.vectors, panel.masks(b)
        self.packing = packing

    def emit(
        self,
        addresses: Sequence[Pointer],
        numbers: Sequence[Value],
        flags: Sequence[Value],
        extras: Sequence[Pointer],
    ) -> None:
        b, (left, right, out, ahead, packed), (row, column, depth), (fresh, last) = self.b, addresses, numbers, flags
        if self.epilogue is None or len(self.cut.depths) > 1:
            self._ask([Touch(0, self.spec.c_stride, True)], [out], b.index(0), b.index(0))
        if len(self.cut.depths) == 1:
            self._ask(self.touched, extras, row, column)
        elif self.touched:
            with b.when(last):
                self._ask(self.touched, extras, row, column)
        sums = self._sum((left, right, ahead, packed), depth, self._start(out, fresh))
        grid = [sums[r * self.vectors : (r + 1) * self.vectors] for r in range(self.rows)]
        if self.epilogue is None:
            self._store(out, grid)
            return
        finish = self.epilogue

        def finished() -> None:
            values = finish(b, Tile(grid, row, column, self.masks), *extras)
            self._store(out, values or ())

        if len(self.cut.depths) == 1:
            finished()
        else:
            b.either(last, finished, lambda: self._store(out, grid))

    def _ask(self, touched: Sequence[Touch], extras: Sequence[Pointer], row: Value, column: Value) -> None:
        ask_for(self.b, touched, extras, (row, column), (self.rows, self.vectors))

    def _start(self, out: Pointer, fresh: Value) -> list[Value]:
        """Zeros, or what C holds."""
        b, cells = self.b, [(r, v) for r in range(self.rows) for v in range(self.vectors)]

        def zeros() -> list[Value]:
            return [b.number(0.0) for _ in cells]

        def held() -> list[Value]:
            return [out.load(r * self.spec.c_stride + v * b.lanes, mask=self.masks[v]) for r, v in cells]

        if self.spec.accumulate:
            return held()
        return zeros() if len(self.cut.depths) == 1 else b.either(fresh, zeros, held)

    def _sum(self, addresses: Sequence[Pointer], depth: Value, sums: list[Value]) -> list[Value]:
        """Add ``depth`` products to the accumulators."""
        b, spec, (left, right, ahead, packed) = self.b, self.spec, addresses
        row_step, k_step = spec.a_strides
        if self.cut.copy_a:
            row_step, k_step = self.cut.kept_stride, 1
        elif self.cut.pack_a:
            row_step, k_step = 1, self.rows
        from_panel = self.cut.pack_b and not self.packing
        step = self.vectors * b.lanes if from_panel else spec.b_strides[0]
        masks = [None] * self.vectors if from_panel else self.masks
        coming = [r * spec.a_strides[0] for r in range(self.rows)]
        tile = TileSum(
            b,
            [r * row_step for r in range(self.rows)],
            masks,
            (ahead, coming) if self.cut.prefetch_a else None,
            packed if self.packing else None,
        )
        return tile.run(left, right, [Level(depth, k_step, step, math.gcd(*self.cut.depths))], sums)

    def _store(self, out: Pointer, values: Sequence[Sequence[Value]]) -> None:
        for r, row in enumerate(values):
            for v, value in enumerate(row):
                out.store(value, r * self.spec.c_stride + v * self.b.lanes, self.masks[v])


__all__ = ["Epilogue", "Tile", "TileFunctions", "Touch", "ask_for"]
