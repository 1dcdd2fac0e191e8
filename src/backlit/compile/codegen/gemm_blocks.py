"""The loops of a product over tiles: runs along k, blocks of panels that stay in cache, rows of tiles, panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .gemm_plan import Gemm, Panel, Plan
from .gemm_tile import Epilogue, Reads, TileFunctions
from .packing import pack_columns, pack_narrow, pack_rows
from .subroutines import Subroutines
from .values import Pointer, Value
from .vector import VectorBuilder

_TOGETHER = 8  # tiles of rows that are packed at a time: as many cache lines of A hold their elements of one row

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
        reads: Reads = (),
    ) -> None:
        self.b, self.spec, self.cut = b, spec, cut
        self.a, self.right, self.c, self.workspace, *self.extras = pointers
        self.packs = Subroutines(b) if cut.pack_b and not spec.b_packed else None
        self.tiles = TileFunctions(b, spec, cut, epilogue, self.extras, reads)
        tallest = max(rows for _, _, rows in cut.row_groups(spec.m))
        self.kept = b.array(tallest * cut.kept_stride) if cut.copy_a else None
        self.panels = self.workspace + cut.block(spec)

    def emit(self) -> None:
        depth, runs = self.cut.depths[0], len(self.cut.depths)
        fresh = not self.spec.accumulate
        self.b.loop(0, runs - 1, 1, lambda r: self._run(_Run(r * depth, depth, fresh and (r == 0), last=False)))
        self._run(_Run((runs - 1) * depth, self.cut.depths[-1], fresh and runs == 1, last=True))

    def _run(self, run: _Run) -> None:
        if self.cut.pack_a:
            self._pack_left(run)
        for start, stop, panel in alike(self.cut.panels):
            self.b.loop(
                start, stop, self.cut.panels_a_block, lambda j, stop=stop, panel=panel: self._block(j, stop, panel, run)
            )

    def _block(self, first: Any, stop: int, panel: Panel, run: _Run) -> None:
        b, beyond = self.b, first + self.cut.panels_a_block
        end = min(beyond, stop) if isinstance(beyond, int) else b.minimum(beyond, stop)
        done = 0
        if self.cut.pack_early:
            done = self.cut.row_groups(self.spec.m)[0][2]
            self._row(0, done, first, end, panel, run, packing=True)
        elif self.packs is not None:
            self._pack_block(first, end, panel, run)
        for top, bottom, rows in self.cut.row_groups(self.spec.m):
            b.loop(max(top, done), bottom, rows, lambda i, rows=rows: self._row(i, rows, first, end, panel, run))

    def _pack_block(self, first: Any, end: Any, panel: Panel, run: _Run) -> None:
        """A block of panels; where columns are neighbours several at a time, for longer runs in memory."""
        several = self.spec.b_strides[1] == 1 and panel.columns == self.cut.width
        whole = first + ((end - first) & -_SIDE_BY_SIDE) if several else first
        self.b.loop(first, whole, _SIDE_BY_SIDE, lambda j: self._pack_together(j, first, run))
        self.b.loop(whole, end, 1, lambda j: self._pack(j, first, panel, run))

    def _pack_together(self, j: Any, first: Any, run: _Run) -> None:
        width, down, depth = self.cut.width, self.spec.b_strides[0], run.depth
        assert self.packs is not None
        self.packs.call(
            ("together", depth),
            [self.right + j * width + run.begin * down, self._place(j, first)],
            lambda b, source, packed: pack_narrow(
                b, source, down, depth, [width] * _SIDE_BY_SIDE, _SIDE_BY_SIDE * width, packed, max(self.cut.depths)
            ),
        )

    def _pack(self, j: Any, first: Any, panel: Panel, run: _Run) -> None:
        """One panel of this run into the workspace, where it stays in cache while all rows use it."""
        down, across = self.spec.b_strides
        source = self.right + j * (self.cut.width * across) + run.begin * down
        assert self.packs is not None
        self.packs.call(
            (panel.columns, run.depth),
            [source, self._place(j, first)],
            lambda b, source, packed: pack_panel(b, self.spec, panel, source, packed, run.depth),
        )

    def _pack_left(self, run: _Run) -> None:
        """All of A in this run: what each tile of rows needs lies together then."""
        spec, step = self.spec, self.cut.kept_stride
        given = self.a + run.begin * spec.a_strides[1]

        def several(i: Any, rows: int, count: int, available: int) -> None:
            pack_narrow(
                self.b, given + i, spec.a_strides[1], run.depth, [rows] * count, available, self.panels + i * step, step
            )

        for top, bottom, rows in self.cut.row_groups(spec.m):
            together = _TOGETHER * rows
            safe = max(min(bottom, spec.m - self.b.lanes) - top, 0) // together * together + top
            self.b.loop(
                top, safe, together, lambda i, rows=rows: several(i, rows, _TOGETHER, _TOGETHER * rows + self.b.lanes)
            )
            for i in range(safe, bottom, together):
                several(i, rows, min(_TOGETHER, (bottom - i) // rows), spec.m - i)

    def _place(self, j: Any, first: Any) -> Pointer:
        """Where panel j is in the workspace, which holds the block that begins with ``first``."""
        return self.workspace + (j - first) * (self.cut.width * max(self.cut.depths))

    def _row(self, i: Any, rows: int, first: Any, end: Any, panel: Panel, run: _Run, packing: bool = False) -> None:
        """All tiles of some rows inside a block of panels; the first row of tiles may be what packs them."""
        b, cut, spec = self.b, self.cut, self.spec
        given = self.a + run.begin * spec.a_strides[1]
        left = given + i * spec.a_strides[0]
        following = min(i + rows, spec.m - rows) if isinstance(i, int) else b.minimum(i + rows, spec.m - rows)
        ahead = given + following * spec.a_strides[0] if cut.prefetch_a else left
        if self.kept is not None:
            left = self._copied(left, rows, run.depth)
        elif cut.pack_a:
            left = self.panels + i * cut.kept_stride

        def tile(j: Any) -> None:
            column = j * cut.width
            packed = self._place(j, first)
            if self.packs is not None and not packing:
                right = packed
            elif cut.pack_b and not packing:
                right = self.right + column * spec.k + run.begin * (panel.vectors * cut.lanes)
            else:
                right = self.right + column + run.begin * spec.b_strides[0]
            out = self.c + i * spec.c_stride + column
            addresses, numbers = [left, right, out, ahead, packed], [i, column, run.depth]
            self.tiles.call(rows, panel, addresses, numbers, run.fresh, run.last, packing)

        b.loop(first, end, 1, tile)

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
