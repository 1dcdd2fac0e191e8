"""Products whose left side holds many zeros, as the outputs of ReLU do and the gradients behind its gate.

What is not zero in each row of A is written down in lists. Then a block of B as large as a first-level cache is gone
over for all rows, and each row adds up only those rows of B that are on its list. A zero times infinity or NaN is NaN:
where a block of B holds such numbers, rows add up all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .gemm_blocks import BlockedProduct
from .gemm_plan import Gemm, Panel, Plan, Sparse
from .gemm_tile import Epilogue, Tile, Touch, ask_for
from .packing import pack_columns, pack_rows
from .subroutines import Subroutines
from .values import INT64, Pointer, Value
from .vector import VectorBuilder
from .zero_lists import Lists, ListWriter


class SparseProduct:
    """Emits such a product; ``pointers`` are A, B, C, the workspace, and what the epilogue takes."""

    def __init__(
        self,
        b: VectorBuilder,
        spec: Gemm,
        cut: Plan,
        pointers: Sequence[Pointer],
        epilogue: Epilogue | None,
        touched: Sequence[Touch] = (),
    ) -> None:
        assert cut.sparse is not None
        self.b, self.spec, self.cut = b, spec, cut.sparse
        self.left, self.right, self.out, workspace, *self.extras = pointers
        self.lists = ListWriter(b, spec, self.cut, self.left, workspace)
        self.block, self.strange = b.array(self.cut.depth * self.cut.stride), b.array(1, INT64)
        self.rows = _Rows(spec, self.cut, epilogue, touched)
        self.parts = Subroutines(b)
        self.dense = BlockedProduct(b, spec, cut, pointers, epilogue, touched)

    def emit(self) -> None:
        """By lists, or as any other product where they would be too long."""
        count = self.lists.write()
        self.b.either(count <= self.cut.most, self._by_lists, self.dense.emit)

    def _by_lists(self) -> None:
        """Some columns after the other."""
        lanes, spec = self.b.lanes, self.spec
        ragged = spec.n % lanes
        for start, stop, vectors in self.cut.groups:
            last = stop - vectors if ragged and stop * lanes > spec.n else stop
            whole = Panel(0, vectors * lanes, vectors)
            self.b.loop(start, last, vectors, lambda j, whole=whole: self._strip(j, whole))
            if last < stop:
                self._strip(last, Panel(0, (vectors - 1) * lanes + ragged, vectors))

    def _strip(self, j: Any, panel: Panel) -> None:
        """All runs along k."""
        spec, depth, column = self.spec, self.cut.depth, self.b.index(j) * self.b.lanes
        last = self.cut.runs(spec) - 1
        self.b.loop(0, last, 1, lambda q: self._run(q, column, panel, depth, last=False))
        self._run(last, column, panel, spec.k - last * depth, last=True)

    def _run(self, q: Any, column: Value, panel: Panel, depth: int, last: bool) -> None:
        b, spec, begin = self.b, self.spec, self.b.index(q) * self.cut.depth
        source = self.right + begin * spec.b_strides[0] + column * spec.b_strides[1]
        self.parts.call(
            ("block", panel, depth),
            [source, self.block, self.strange],
            lambda b, *pointers: self._block(b, panel, depth, *pointers),
        )
        fresh = b.index(0 if spec.accumulate else 1) > b.index(q)
        lists = self.lists.run(b.index(q))
        rest = [self.block, self._following(begin, column, panel, last), self.out + column, column, fresh, *self.extras]

        def listed() -> None:
            self.parts.call(
                ("listed", panel, last),
                [*lists.pointers, *rest],
                lambda b, numbers, places, starts, *rest: self.rows.emit(
                    b, panel, last, _listed(b, Lists(numbers, lists.row, places, starts), self.cut.stride), *rest
                ),
            )

        def all_of_it() -> None:
            self.parts.call(
                ("all", panel, last, depth),
                [self.left + begin * spec.a_strides[1], *rest],
                lambda b, left, *rest: self.rows.emit(
                    b, panel, last, _all_of_it(b, spec, left, depth, self.cut.stride), *rest
                ),
            )

        b.either(self.strange.load(0, 0) == 0, listed, all_of_it)

    def _following(self, begin: Value, column: Value, panel: Panel, last: bool) -> Pointer:
        """Where the block begins in B that comes next; behind all of it that is no place, which may be asked for."""
        down, across = self.spec.b_strides
        if last:
            return self.right + (column + panel.vectors * self.b.lanes) * across
        return self.right + (begin + self.cut.depth) * down + column * across

    def _block(
        self, b: VectorBuilder, panel: Panel, depth: int, source: Pointer, block: Pointer, strange: Pointer
    ) -> None:
        """Some rows of a panel of B side by side; ``strange`` becomes 0 where all of it is finite."""
        (down, across), stride = self.spec.b_strides, self.cut.stride
        pack, step = (pack_rows, down) if across == 1 else (pack_columns, across)
        pack(b, source, step, depth, panel.columns, block, stride)
        strange.store(b.convert(_holds_strange(b, block, panel.vectors, depth, stride), INT64), 0)


def _holds_strange(b: VectorBuilder, block: Pointer, vectors: int, depth: int, stride: int) -> Value:
    """Whether there is infinity or NaN: of these alone, the difference with itself is not zero."""

    def row(k: Any, *found: Value) -> list[Value]:
        held = [(block + b.index(k) * stride).load(v * b.lanes) for v in range(vectors)]
        return [total + (x - x) for total, x in zip(found, held, strict=True)]

    first, *others = b.loop(0, depth, 1, row, [b.number(0.0)] * vectors)
    for other in others:
        first = first + other
    return b.any(first != first)


Terms = Callable[[Pointer, Value, list[Value]], list[Value]]
"""``terms(block, row, sums)`` adds what a row of A takes from a block."""


def _listed(b: VectorBuilder, lists: Lists, stride: int) -> Terms:
    """What is on the row's list."""

    def terms(block: Pointer, row: Value, sums: list[Value]) -> list[Value]:
        numbers = lists.numbers + row * lists.row

        def term(p: Any, *sums: Value) -> list[Value]:
            place = b.convert(lists.places.load(p, 0), INT64)
            there, factor = block + place * stride, numbers.splat(place)
            return [b.muladd(factor, there.load(v * b.lanes), x) for v, x in enumerate(sums)]

        begin, end = (b.convert(lists.starts.load(row + s, 0), INT64) for s in (0, 1))
        return b.loop(begin, end, 1, term, sums)

    return terms


def _all_of_it(b: VectorBuilder, spec: Gemm, left: Pointer, depth: int, stride: int) -> Terms:
    """All rows of the block, with what A holds."""
    down, along = spec.a_strides

    def terms(block: Pointer, row: Value, sums: list[Value]) -> list[Value]:
        def term(k: Any, *sums: Value) -> list[Value]:
            there, factor = block + b.index(k) * stride, left.splat(row * down + b.index(k) * along)
            return [b.muladd(factor, there.load(v * b.lanes), x) for v, x in enumerate(sums)]

        return b.loop(0, depth, 1, term, sums)

    return terms


class _Rows:
    """Goes over all rows of the result, some columns of each at a time."""

    def __init__(self, spec: Gemm, cut: Sparse, epilogue: Epilogue | None, touched: Sequence[Touch]) -> None:
        self.spec, self.cut, self.epilogue, self.touched = spec, cut, epilogue, touched
        self.from_zero = cut.runs(spec) == 1 and not spec.accumulate

    def emit(
        self,
        b: VectorBuilder,
        panel: Panel,
        last: bool,
        terms: Terms,
        block: Pointer,
        following: Pointer,
        out: Pointer,
        column: Value,
        fresh: Value,
        *extras: Pointer,
    ) -> None:
        """Add a block's part to the sums, which are finished in the ``last`` run and lie in C before it.

        The block that comes next, which begins at ``following`` in B, and the next row of C are asked for meanwhile.
        """
        masks = panel.masks(b)

        def zeros() -> list[Value]:
            return [b.number(0.0)] * panel.vectors

        def row(i: Any) -> None:
            i = b.index(i)
            here = out + i * self.spec.c_stride
            self._ask(b, i, panel, following)
            if not self.from_zero:
                ask_for(b, [Touch(0, self.spec.c_stride, True)], [out], (i + 1, b.index(0)), (1, panel.vectors))

            def held() -> list[Value]:
                return [here.load(v * b.lanes, mask=mask) for v, mask in enumerate(masks)]

            if last:
                ask_for(b, self.touched, extras, (i, column), (1, panel.vectors))
            sums = terms(block, i, zeros() if self.from_zero else b.either(fresh, zeros, held))
            grid: Any = [sums]
            if last and self.epilogue is not None:
                grid = self.epilogue(b, Tile(grid, i, column, masks), *extras)
            for finished in grid or ():
                for v, x in enumerate(finished):
                    here.store(x, v * b.lanes, masks[v])

        b.loop(0, self.spec.m, 1, row)

    def _ask(self, b: VectorBuilder, i: Value, panel: Panel, following: Pointer) -> None:
        """Ask for a part of the following block: a row of it each, several where there are few rows of A."""
        (down, across), depth, columns = self.spec.b_strides, self.cut.depth, panel.vectors * b.lanes
        step, rows, length = (down, depth, columns) if across == 1 else (across, columns, depth)
        with b.when(i < rows):
            for r in range(0, rows, self.spec.m):
                b.prefetch(following + (i + r) * step, length, near=2)


__all__ = ["SparseProduct"]
