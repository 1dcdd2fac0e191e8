"""The tile of a matrix product: some rows times a panel's width in registers, summed along k, handed to an epilogue.

Each height and width becomes one internal function, called from the loops, so that code stays small however a product
is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .gemm_plan import Gemm, Panel, Plan
from .values import BOOL, INT64, Pointer, Value, constant
from .vector import VectorBuilder

_UNROLL = 2


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


class TileFunctions:
    """The tile functions of one product, made when first called."""

    def __init__(
        self, b: VectorBuilder, spec: Gemm, cut: Plan, epilogue: Epilogue | None, extras: Sequence[Pointer]
    ) -> None:
        self.b, self.spec, self.cut, self.epilogue, self.extras = b, spec, cut, epilogue, extras
        self.made: dict[tuple[int, int], ir.Function] = {}

    def call(
        self, rows: int, panel: Panel, addresses: Sequence[Pointer], numbers: Sequence[Any], fresh: Any, last: bool
    ) -> None:
        """Run the tile on ``[left, right, out]`` with ``[row, column, depth]``; ``fresh`` sums begin at 0."""
        b, key = self.b, (rows, panel.columns)
        if key not in self.made:
            self.made[key] = self._define(rows, panel)
        flags = [flag if isinstance(flag, Value) else Value(b, constant(flag, BOOL)) for flag in (fresh, last)]
        arguments: list[Any] = [*addresses, *map(b.index, numbers), *flags, *self.extras]
        b.ir.call(self.made[key], [x.ir for x in arguments])

    def _define(self, rows: int, panel: Panel) -> ir.Function:
        outer, pointer = self.b, ir.PointerType()
        types = [pointer] * 3 + [INT64] * 3 + [BOOL] * 2 + [pointer] * len(self.extras)
        name = f"{outer.ir.function.name}.tile{rows}x{panel.columns}"
        defined = ir.Function(outer.ir.module, ir.FunctionType(ir.VoidType(), types), name)
        defined.linkage = "internal"
        defined.attributes.add("noinline")
        b = outer.inside(defined)
        left, right, out = (b.pointer(x, outer.element) for x in defined.args[:3])
        row, column, depth, fresh, last = (Value(b, x) for x in defined.args[3:8])
        extras = [b.pointer(x, p.element) for x, p in zip(defined.args[8:], self.extras, strict=True)]
        _TileBody(b, self, rows, panel).emit((left, right, out), (row, column, depth), fresh, last, extras)
        b.ir.ret_void()
        return defined


class _TileBody:
    """What one tile function does."""

    def __init__(self, b: VectorBuilder, functions: TileFunctions, rows: int, panel: Panel) -> None:
        self.b, self.spec, self.cut, self.epilogue = b, functions.spec, functions.cut, functions.epilogue
        self.rows, self.vectors = rows, panel.vectors
        ragged = panel.columns % self.cut.lanes
        self.masks: list[Value | None] = [None] * panel.vectors
        if ragged:
            self.masks[-1] = b.first(ragged)

    def emit(
        self,
        addresses: tuple[Pointer, Pointer, Pointer],
        numbers: tuple[Value, Value, Value],
        fresh: Value,
        last: Value,
        extras: Sequence[Pointer],
    ) -> None:
        b, (left, right, out), (row, column, depth) = self.b, addresses, numbers
        sums = self._sum(left, right, depth, self._start(out, fresh))
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

    def _sum(self, left: Pointer, right: Pointer, depth: Value, sums: list[Value]) -> list[Value]:
        """Add ``depth`` products to the accumulators."""
        b, spec = self.b, self.spec
        row_step = self.cut.kept_stride if self.cut.copy_a else spec.a_strides[0]
        k_step = 1 if self.cut.copy_a else spec.a_strides[1]
        step = self.vectors * b.lanes if self.cut.pack_b else spec.b_strides[0]
        masks = [None] * self.vectors if self.cut.pack_b else self.masks

        def one(k: Any, sums: Sequence[Value]) -> list[Value]:
            row_of_b = [(right + k * step).load(v * b.lanes, mask=masks[v]) for v in range(self.vectors)]
            column_of_a, following = left + k * k_step, []
            for r in range(self.rows):
                factor = column_of_a.splat(r * row_step)
                following += [b.muladd(factor, y, sums[r * self.vectors + v]) for v, y in enumerate(row_of_b)]
            return following

        def several(k: Any, *sums: Value) -> list[Value]:
            for u in range(_UNROLL):
                sums = tuple(one(k + u, sums))
            return list(sums)

        whole = depth & -_UNROLL
        sums = b.loop(0, whole, _UNROLL, several, sums)
        if spec.k % _UNROLL:
            sums = b.loop(whole, depth, 1, lambda k, *sums: one(k, sums), sums)
        return sums

    def _store(self, out: Pointer, values: Sequence[Sequence[Value]]) -> None:
        for r, row in enumerate(values):
            for v, value in enumerate(row):
                out.store(value, r * self.spec.c_stride + v * self.b.lanes, self.masks[v])


__all__ = ["Epilogue", "Tile", "TileFunctions"]
