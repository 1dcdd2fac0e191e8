"""The loops of a product over tiles: runs along k, blocks of panels that stay in cache, rows of tiles, panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .gemm_plan import TOGETHER, Gemm, Panel, Plan
from .gemm_tile import Epilogue, TileFunctions, Touch
from .packing import pack_columns, pack_narrow, pack_rows
from .subroutines import Subroutines
from .values import Pointer, Value
from .vector import VectorBuilder

_SIDE_BY_SIDE = 4  # panels of B that are packed at a time


def pack_panel(b: VectorBuilder, spec: Gemm, panel: Panel, source: Pointer, packed: Pointer, depth: int) -> None:
    """``depth`` rows of one panel, from its first element."""
    down, across = spec.b_strides
    pack, stride = (pack_rows, down) if across == 1 else (pack_columns, across)
    pack(b, source, stride, depth, panel.columns, packed, panel.vectors * b.lanes)


def alike(panels: Sequence[Panel]) -> list[tuple[int, int, Panel]]:
    """Runs of panels of one width: ``(start, stop, one of them)``; only the last can be narrower."""
    last = len(panels) - 1
    if panels[last].columns == panels[0].columns:
        return [(0, last + 1, panels[0])]
    return [run for run in [(0, last, panels[0]), (last, last + 1, panels[last])] if run[0] < run[1]]


@dataclass(frozen=True)
class _Run:
    """One run along k: where it begins, its length, and whether it is the first and the last."""

    begin: Any
    depth: int
    fresh: Any
    last: bool


class BlockedProduct:
    """Emits one product; ``pointers`` are A, B, C, the workspace, and what the epilogue takes."""

    def __init__(
        self,
        b: VectorBuilder,
        spec: Gemm,
        cut: Plan,
        pointers: Sequence[Pointer],
        epilogue: Epilogue | None,
        touched: Sequence[Touch] = (),
    ) -> None:
        self.b, self.spec, self.cut = b, spec, cut
        self.a, self.right, self.c, self.workspace, *self.extras = pointers
        self.packs = Subroutines(b)
        self.packs_b = cut.pack_b and not spec.b_packed
        self.tiles = TileFunctions(b, spec, cut, epilogue, self.extras, touched)
        tallest = max(rows for _, _, rows in cut.row_groups(spec.m))
        self.kept = b.array(tallest * cut.kept_stride) if cut.copy_a else None
        self.panels = self.workspace + cut.block(spec)

    def emit(self) -> None:
        depth, runs = self.cut.depths[0], len(self.cut.depths)
        fresh = not self.spec.accumulate
        self.b.loop(0, runs - 1, 1, lambda r: self._run(_Run(r * depth, depth, fresh and (r == 0), last=False)))
        self._run(_Run((runs - 1) * depth, self.cut.depths[-1], fresh and runs == 1, last=True))

    def _run(self, run: _Run) -> None:
        if self.cut.pack_a and not self.cut.pack_a_in_turn:
            for rows in self.cut.row_groups(self.spec.m):
                self._by_groups(rows, lambda i, *group: self._pack_left(i, i, run, *group))
        for start, stop, panel in alike(self.cut.panels):
            self.b.loop(
                start, stop, self.cut.panels_a_block, lambda j, stop=stop, panel=panel: self._block(j, stop, panel, run)
            )

    def _block(self, first: Any, stop: int, panel: Panel, run: _Run) -> None:
        b, beyond = self.b, first + self.cut.panels_a_block
        end = min(beyond, stop) if isinstance(beyond, int) else b.minimum(beyond, stop)
        early = self.cut.row_groups(self.spec.m)[0][2] if self.cut.pack_early else 0
        if self.packs_b and not early:
            self._pack_block(first, end, panel, run)

        def tiles(start: Any, stop: Any, rows: int, held: Any) -> None:
            if early and isinstance(start, int) and start == 0:
                self._row(0, rows, first, end, panel, run, held, packing=True)
                start = rows
            b.loop(start, stop, rows, lambda i: self._row(i, rows, first, end, panel, run, held))

        def group(i: Any, rows: int, count: int, available: int) -> None:
            self._pack_left(i, 0, run, rows, count, available)
            tiles(i, i + count * rows, rows, i)

        for top, bottom, rows in self.cut.row_groups(self.spec.m):
            if self.cut.pack_a_in_turn:
                self._by_groups((top, bottom, rows), group, alone=early)
            else:
                tiles(top, bottom, rows, 0)

    def _pack_block(self, first: Any, end: Any, panel: Panel, run: _Run) -> None:
        """A block of panels; where columns are neighbours several at a time, for longer runs in memory."""
        several = self.spec.b_strides[1] == 1 and panel.columns == self.cut.width
        whole = first + ((end - first) & -_SIDE_BY_SIDE) if several else first
        self.b.loop(first, whole, _SIDE_BY_SIDE, lambda j: self._pack_together(j, first, run))
        self.b.loop(whole, end, 1, lambda j: self._pack(j, first, panel, run))

    def _pack_together(self, j: Any, first: Any, run: _Run) -> None:
        width, down, depth, step = self.cut.width, self.spec.b_strides[0], run.depth, max(self.cut.depths)
        self.packs.call(
            ("pack together", down, depth, width, step),
            [self.right + j * width + run.begin * down, self._place(j, first)],
            lambda b, source, packed: pack_narrow(
                b, source, down, depth, [width] * _SIDE_BY_SIDE, _SIDE_BY_SIDE * width, packed, step
            ),
            everywhere=True,
        )

    def _pack(self, j: Any, first: Any, panel: Panel, run: _Run) -> None:
        """One panel of this run into the workspace, where it stays in cache while all rows use it."""
        down, across = self.spec.b_strides
        source = self.right + j * (self.cut.width * across) + run.begin * down
        self.packs.call(
            ("pack", self.spec.b_strides, panel.columns, run.depth),
            [source, self._place(j, first)],
            lambda b, source, packed: pack_panel(b, self.spec, panel, source, packed, run.depth),
            everywhere=True,
        )

    def _by_groups(
        self, tiles: tuple[int, int, int], body: Callable[[Any, int, int, int], None], alone: int = 0
    ) -> None:
        """``body(first row, rows, count, available)`` for so many tiles of rows at a time.

        Of each row of what lies transposed, ``available`` elements may be read from there. With ``alone`` the very
        first rows come by themselves: not in a loop, where they would look like all others."""
        top, bottom, rows = tiles
        together = TOGETHER * rows
        safe = max(min(bottom, self.spec.m - self.b.lanes) - top, 0) // together * together + top
        start = top
        if alone and top == 0 and safe:
            body(0, rows, TOGETHER, together + self.b.lanes)
            start = together
        self.b.loop(start, safe, together, lambda i: body(i, rows, TOGETHER, together + self.b.lanes))
        for i in range(safe, bottom, together):
            body(i, rows, min(TOGETHER, (bottom - i) // rows), self.spec.m - i)

    def _pack_left(self, i: Any, held: Any, run: _Run, rows: int, count: int, available: int) -> None:
        """Some tiles' rows of A, from row ``i`` on: what each tile needs lies together then."""
        step, along, depth = self.cut.kept_stride, self.spec.a_strides[1], run.depth
        available = min(available, rows * count + self.b.lanes)  # more makes no difference
        self.packs.call(
            ("pack left", along, depth, rows, count, available, step),
            [self.a + run.begin * along + i, self.panels + held * step],
            lambda b, source, packed: pack_narrow(b, source, along, depth, [rows] * count, available, packed, step),
            everywhere=True,
        )

    def _place(self, j: Any, first: Any) -> Pointer:
        """Where panel j is in the workspace, which holds the block that begins with ``first``."""
        return self.workspace + (j - first) * (self.cut.width * max(self.cut.depths))

    def _row(
        self, i: Any, rows: int, first: Any, end: Any, panel: Panel, run: _Run, held: Any, packing: bool = False
    ) -> None:
        """All tiles of some rows inside a block of panels; the first row of tiles may be what packs them.

        Packed rows of A are there from row ``held`` on."""
        b, cut, spec = self.b, self.cut, self.spec
        given = self.a + run.begin * spec.a_strides[1]
        left = given + i * spec.a_strides[0]
        following = min(i + rows, spec.m - rows) if isinstance(i, int) else b.minimum(i + rows, spec.m - rows)
        ahead = given + following * spec.a_strides[0] if cut.prefetch_a else left
        if self.kept is not None:
            left = self._copied(left, rows, run.depth)
        elif cut.pack_a:
            left = self.panels + (b.index(i) - held) * cut.kept_stride

        def tile(j: Any) -> None:
            column = j * cut.width
            packed = self._place(j, first)
            if self.packs_b and not packing:
                right = packed
            elif cut.pack_b and not packing:
                right = self.right + column * spec.k + run.begin * (panel.vectors * cut.lanes)
            else:
                right = self.right + column + run.begin * spec.b_strides[0]
            out = self.c + i * spec.c_stride + column
            addresses, numbers = [left, right, out, ahead, packed], [i, column, run.depth]
            if cut.pack_a_in_turn and spec.m > TOGETHER * rows:
                self._ask_left(b.index(i), rows, b.index(held), b.index(j) - first, run)
            self.tiles.call(rows, panel, addresses, numbers, run.fresh, run.last, packing)

        b.loop(first, end, 1, tile)

    def _ask_left(self, i: Value, rows: int, held: Value, j: Value, run: _Run) -> None:
        """Ask for a share of the rows that are packed next, beside each tile: all at once they keep memory waiting."""
        b, (_, along) = self.b, self.spec.a_strides
        share = -(-run.depth // (TOGETHER * len(self.cut.panels)))
        done = ((i - held) // rows * len(self.cut.panels) + j) * share + run.begin
        source = self.a + held + TOGETHER * rows + done * along

        b.loop(0, share, 1, lambda k: b.prefetch(source + b.index(k) * along, TOGETHER * rows))

    def _copied(self, left: Pointer, rows: int, depth: int) -> Pointer:
        """Rows of A side by side, where their own distance would make them evict each other."""
        kept = self.kept
        assert kept is not None
        step = self.cut.kept_stride

        def copy(k: Any, mask: Value | None) -> None:
            for r in range(rows):
                kept.store((left + k).load(r * self.spec.a_strides[0], mask=mask), r * step + k, mask)

        self.b.sweep(depth, copy)
        return kept


__all__ = ["BlockedProduct", "alike", "pack_panel"]
