"""Products whose left side holds many zeros, as the outputs of ReLU do and the gradients behind its gate.

What is not zero in each row of A is written down in lists. Then a block of B as large as a first-level cache is gone
over for all rows, and each row adds up only those rows of B that are on its list. A zero times infinity or NaN is NaN:
where a block of B holds such numbers, rows add up all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .gemm_blocks import BlockedProduct
from .gemm_plan import Gemm, Plan
from .gemm_tile import Epilogue, Reads, Tile
from .packing import transposed
from .subroutines import Subroutines
from .values import INT64, Pointer, Value
from .vector import VectorBuilder
from .zero_lists import Lists, write_lists

_AHEAD = 8  # rows of B that are asked for beforehand


class _Strip(NamedTuple):
    """Neighbouring columns of B: ``vectors`` of them, of the last one only ``ragged`` columns (0: all)."""

    vectors: int
    ragged: int

    def masks(self, b: VectorBuilder) -> list[Value | None]:
        """For each vector None, or the mask of the lanes inside."""
        return [None] * (self.vectors - 1) + [b.first(self.ragged) if self.ragged else None]


class SparseProduct:
    """Emits such a product; ``pointers`` are A, B, C, the workspace, and what the epilogue takes."""

    def __init__(
        self,
        b: VectorBuilder,
        spec: Gemm,
        cut: Plan,
        pointers: Sequence[Pointer],
        epilogue: Epilogue | None,
        reads: Reads = (),
    ) -> None:
        assert cut.sparse is not None
        self.b, self.spec, self.cut = b, spec, cut.sparse
        self.left, self.right, self.out, workspace, *self.extras = pointers
        self.lists = Lists.at(b, spec, workspace)
        self.block, self.strange = b.array(self.cut.depth * self.cut.stride), b.array(1, INT64)
        self.rows = _Rows(spec, cut, epilogue, reads)
        self.parts = Subroutines(b)
        self.dense = BlockedProduct(b, spec, cut, pointers, epilogue, reads)

    def emit(self) -> None:
        """By lists, or as any other product where they would be too long."""
        count = write_lists(self.b, self.spec, self.cut, self.left, self.lists)
        self.b.either(count <= self.cut.most, self._by_lists, self.dense.emit)

    def _by_lists(self) -> None:
        """Some columns after the other."""
        lanes, spec = self.b.lanes, self.spec
        ragged = spec.n % lanes
        for start, stop, vectors in self.cut.groups:
            last = stop - vectors if ragged and stop * lanes > spec.n else stop
            self.b.loop(start, last, vectors, lambda j, vectors=vectors: self._strip(j, _Strip(vectors, 0)))
            if last < stop:
                self._strip(last, _Strip(vectors, ragged))

    def _strip(self, j: Any, strip: _Strip) -> None:
        """All runs along k."""
        spec, depth, column = self.spec, self.cut.depth, self.b.index(j) * self.b.lanes
        last = self.cut.runs(spec) - 1
        self.b.loop(0, last, 1, lambda q: self._run(q, column, strip, depth, last=False))
        self._run(last, column, strip, spec.k - last * depth, last=True)

    def _run(self, q: Any, column: Value, strip: _Strip, depth: int, last: bool) -> None:
        b, spec, begin = self.b, self.spec, self.b.index(q) * self.cut.depth
        source = self.right + begin * spec.b_strides[0] + column * spec.b_strides[1]
        self.parts.call(
            ("block", strip, depth),
            [source, self.block, self.strange],
            lambda b, *pointers: _Block(b, spec, self.cut.stride, strip, depth).emit(*pointers),
        )
        fresh = b.index(0 if spec.accumulate else 1) > b.index(q)
        numbers, places, starts = self.lists
        lists = [numbers, places, starts + b.index(q) * spec.m]
        rest = [self.block, self.out + column, column, fresh, *self.extras]

        def listed() -> None:
            self.parts.call(
                ("listed", strip, last),
                [*lists, *rest],
                lambda b, numbers, places, starts, *rest: self.rows.emit(
                    b, strip, last, _listed(b, Lists(numbers, places, starts)), *rest
                ),
            )

        def all_of_it() -> None:
            self.parts.call(
                ("all", strip, last, depth),
                [self.left + begin * spec.a_strides[1], *rest],
                lambda b, left, *rest: self.rows.emit(
                    b, strip, last, _all_of_it(b, spec, left, depth, self.cut.stride), *rest
                ),
            )

        b.either(self.strange.load(0, 0) == 0, listed, all_of_it)


class _Block:
    """Some rows of a strip of B side by side."""

    def __init__(self, b: VectorBuilder, spec: Gemm, stride: int, strip: _Strip, depth: int) -> None:
        self.b, self.stride, self.strip, self.depth = b, stride, strip, depth
        self.down, self.across = spec.b_strides

    def emit(self, source: Pointer, block: Pointer, strange: Pointer) -> None:
        """Fill the block; ``strange`` becomes 0 where all of it is finite."""
        if self.across == 1:
            self._copy(source, block)
        else:
            self._turn(source, block)
        strange.store(self.b.convert(self._holds_strange(block), INT64), 0)

    def _copy(self, source: Pointer, block: Pointer) -> None:
        b, masks = self.b, self.strip.masks(self.b)

        def row(k: Any) -> None:
            here = source + b.index(k) * self.down
            for v in range(0, self.strip.vectors * b.lanes, b.a_line(b.element)):
                b.prefetch(here + (_AHEAD * self.down + v))
            for v, mask in enumerate(masks):
                (block + b.index(k) * self.stride).store(here.load(v * b.lanes, mask=mask), v * b.lanes)

        b.loop(0, self.depth, 1, row)

    def _turn(self, source: Pointer, block: Pointer) -> None:
        """Columns of B lie contiguous: a square of vectors at a time."""
        b, (vectors, ragged) = self.b, self.strip
        lanes, whole = b.lanes, self.depth - self.depth % b.lanes
        columns = (vectors - 1) * lanes + (ragged or lanes)

        def square(k: Any, count: int) -> None:
            mask = b.first(count) if count < lanes else None
            for j in range(0, vectors * lanes, lanes):
                held = [
                    (source + k).load((j + i) * self.across, mask=mask) if j + i < columns else b.number(0.0)
                    for i in range(lanes)
                ]
                for i, x in enumerate(transposed(b, held)[:count]):
                    (block + k * self.stride).store(x, i * self.stride + j)

        b.loop(0, whole, lanes, lambda k: square(b.index(k), lanes))
        if whole < self.depth:
            square(b.index(whole), self.depth - whole)

    def _holds_strange(self, block: Pointer) -> Value:
        """Whether there is infinity or NaN: of these alone, the difference with itself is not zero."""
        b, vectors = self.b, self.strip.vectors

        def row(k: Any, *found: Value) -> list[Value]:
            held = [(block + b.index(k) * self.stride).load(v * b.lanes) for v in range(vectors)]
            return [total + (x - x) for total, x in zip(found, held, strict=True)]

        first, *others = b.loop(0, self.depth, 1, row, [b.number(0.0)] * vectors)
        for other in others:
            first = first + other
        return b.any(first != first)


Terms = Callable[[Pointer, Value, list[Value]], list[Value]]
"""``terms(block, row, sums)`` adds what a row of A takes from a block."""


def _listed(b: VectorBuilder, lists: Lists) -> Terms:
    """What is on the row's list."""

    def terms(block: Pointer, row: Value, sums: list[Value]) -> list[Value]:
        def term(p: Any, *sums: Value) -> list[Value]:
            there, factor = block + b.convert(lists.places.load(p, 0), INT64), lists.numbers.splat(p)
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

    def __init__(self, spec: Gemm, cut: Plan, epilogue: Epilogue | None, reads: Reads) -> None:
        self.spec, self.epilogue, self.reads = spec, epilogue, reads
        self.in_one_run = cut.sparse is not None and cut.sparse.runs(spec) == 1

    def emit(
        self,
        b: VectorBuilder,
        strip: _Strip,
        last: bool,
        terms: Terms,
        block: Pointer,
        out: Pointer,
        column: Value,
        fresh: Value,
        *extras: Pointer,
    ) -> None:
        """Add a block's part to the sums, which are finished in the ``last`` run and lie in C before it."""
        masks = strip.masks(b)

        def zeros() -> list[Value]:
            return [b.number(0.0)] * strip.vectors

        def row(i: Any) -> None:
            i = b.index(i)
            here = out + i * self.spec.c_stride

            def held() -> list[Value]:
                return [here.load(v * b.lanes, mask=mask) for v, mask in enumerate(masks)]

            if last:
                self._ask(b, strip, i, column, extras)
            alone = self.in_one_run and not self.spec.accumulate
            sums = terms(block, i, zeros() if alone else b.either(fresh, zeros, held))
            grid: Any = [sums]
            if last and self.epilogue is not None:
                grid = self.epilogue(b, Tile(grid, i, column, masks), *extras)
            for finished in grid or ():
                for v, x in enumerate(finished):
                    here.store(x, v * b.lanes, masks[v])

        b.loop(0, self.spec.m, 1, row)

    def _ask(self, b: VectorBuilder, strip: _Strip, i: Value, column: Value, extras: Sequence[Pointer]) -> None:
        """Ask for what the epilogue will read."""
        for extra, stride in self.reads:
            place = extras[extra] + i * stride + column
            for v in range(0, strip.vectors * b.lanes, b.a_line(extras[extra].element)):
                b.prefetch(place + v)


__all__ = ["SparseProduct"]
