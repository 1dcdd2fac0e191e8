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
        shape, alone = _Shape.of(self.spec, self.cut, rows, panel, packing), self.epilogue is None
        self.tiles.call(
            shape,
            [*addresses, *numbers, fresh, last, *(() if alone else self.extras)],
            lambda b, *arguments: _TileBody(b, shape, self.epilogue, () if alone else self.touched).emit(
                arguments[:5], arguments[5:8], arguments[8:10], arguments[10:]
            ),
            everywhere=alone,
        )


class _Shape(NamedTuple):
    """All that a tile function without an epilogue depends on, beside its dtype.

    Attributes:
        rows, columns: of the tile; its vectors are ``lanes`` wide.
        a_strides: from row to row of what is read of A, and along k.
        b_stride: from step to step of what is read of B.
        from_panel: B comes in whole vectors.
        packing: B is put down in a panel on the way.
        coming: how far the rows of A are apart that are asked for beforehand.
        c_stride: from row to row of C.
        single: there is one run along k.
        multiple: what the depth of a run is a multiple of.
        accumulate: sums start from what C holds.
    """

    rows: int
    columns: int
    lanes: int
    a_strides: tuple[int, int]
    b_stride: int
    from_panel: bool
    packing: bool
    coming: int | None
    c_stride: int
    single: bool
    multiple: int
    accumulate: bool

    @classmethod
    def of(cls, spec: Gemm, cut: Plan, rows: int, panel: Panel, packing: bool) -> _Shape:
        """The shape of a product's tile."""
        a_strides = spec.a_strides
        if cut.copy_a:
            a_strides = cut.kept_stride, 1
        elif cut.pack_a:
            a_strides = 1, rows
        from_panel = cut.pack_b and not packing
        b_stride = panel.vectors * cut.lanes if from_panel else spec.b_strides[0]
        coming = spec.a_strides[0] if cut.prefetch_a else None
        single, multiple = len(cut.depths) == 1, math.gcd(*cut.depths)
        return cls(
            *(rows, panel.columns, cut.lanes, a_strides, b_stride, from_panel, packing, coming),
            *(spec.c_stride, single, multiple, spec.accumulate),
        )

    @property
    def panel(self) -> Panel:
        """Its columns."""
        return Panel(0, self.columns, math.ceil(self.columns / self.lanes))


class _TileBody:
    """What one tile function does."""

    def __init__(self, b: VectorBuilder, shape: _Shape, epilogue: Epilogue | None, touched: Sequence[Touch]) -> None:
        self.b, self.shape, self.epilogue, self.touched = b, shape, epilogue, touched
        self.rows, self.vectors, self.masks = shape.rows, shape.panel.vectors, shape.panel.masks(b)

    def emit(
        self,
        addresses: Sequence[Pointer],
        numbers: Sequence[Value],
        flags: Sequence[Value],
        extras: Sequence[Pointer],
    ) -> None:
        b, (left, right, out, ahead, packed), (row, column, depth), (fresh, last) = self.b, addresses, numbers, flags
        if self.epilogue is None or not self.shape.single:
            self._ask([Touch(0, self.shape.c_stride, True)], [out], b.index(0), b.index(0))
        if self.shape.single:
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

        if self.shape.single:
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
            return [out.load(r * self.shape.c_stride + v * b.lanes, mask=self.masks[v]) for r, v in cells]

        if self.shape.accumulate:
            return held()
        return zeros() if self.shape.single else b.either(fresh, zeros, held)

    def _sum(self, addresses: Sequence[Pointer], depth: Value, sums: list[Value]) -> list[Value]:
        """Add ``depth`` products to the accumulators."""
        shape, (left, right, ahead, packed) = self.shape, addresses
        row_step, k_step = shape.a_strides
        tile = TileSum(
            self.b,
            [r * row_step for r in range(self.rows)],
            [None] * self.vectors if shape.from_panel else self.masks,
            None if shape.coming is None else (ahead, [r * shape.coming for r in range(self.rows)]),
            packed if shape.packing else None,
        )
        return tile.run(left, right, [Level(depth, k_step, shape.b_stride, shape.multiple)], sums)

    def _store(self, out: Pointer, values: Sequence[Sequence[Value]]) -> None:
        for r, row in enumerate(values):
            for v, value in enumerate(row):
                out.store(value, r * self.shape.c_stride + v * self.b.lanes, self.masks[v])


__all__ = ["Epilogue", "Tile", "TileFunctions", "Touch", "ask_for"]
