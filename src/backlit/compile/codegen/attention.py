"""Scaled dot-product attention, head by head in the first-level cache, forwards and backwards.

With P = softmax(s Q Kᵀ) and O = P V,

    dV = Pᵀ dO,   dS = P ∘ (dP − Σ dP ∘ P),  dP = dO Vᵀ,   dQ = s dS K,   dK = s dSᵀ Q.

P is kept for the backward pass, which needs no mask: P is zero where a query must not look. Behind a causal mask the
upper half is neither computed nor read. Nothing is transposed in memory but one head's keys (forwards) or values
(backwards), on their way into panels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir

from .exponential import exp
from .gemm_plan import even_groups
from .packing import pack_columns, pack_rows
from .small_product import SmallProduct, Steps, padded, tile_rows
from .subroutines import Subroutines
from .target import Target, host_target
from .values import INT32, Pointer, Value
from .vector import VectorBuilder, function

_ROWS = 6  # of which softmax is computed side by side


@dataclass(frozen=True)
class Heads:
    """Where the rows of all heads are, in elements: distances from batch to batch, head to head and row to row."""

    batch: int
    head: int
    row: int


class Gradients(NamedTuple):
    """Where gradients lie."""

    query: Heads
    key: Heads
    value: Heads


@dataclass(frozen=True)
class Attention:
    """Shapes and places. Queries have ``length`` rows, keys and values ``context`` rows, all ``width`` columns.

    ``causal`` forbids keys ahead of the query, counted from the first row, as in eager mode. ``mask`` says where rows
    of :func:`probability_columns` numbers begin, which are added to the scores (``added``) or are zero where a query
    must not look; distances of 0 share rows. ``gradients`` says where gradients lie, if not as what they are of.

    Rows that lie apart, and are needed again for each tile of rows, are first copied side by side, a head at a time: in
    a first-level cache they would push each other out.
    """

    batch: int
    heads: int
    length: int
    context: int
    width: int
    query: Heads
    key: Heads
    value: Heads
    out: Heads
    scale: float
    causal: bool
    dtype: str = "float32"
    mask: Heads | None = None
    added: bool = False
    gradients: Gradients | None = None

    @classmethod
    def packed(
        cls, batch: int, heads: int, length: int, width: int, causal: bool = True, dtype: str = "float32"
    ) -> Attention:
        """Queries, keys and values side by side in rows of one matrix ``(batch · length, 3 · heads · width)``.

        Use the pointer to the matrix plus ``heads · width`` for the keys and twice that for the values.
        """
        columns = heads * width
        side, out = Heads(3 * columns * length, width, 3 * columns), Heads(columns * length, width, columns)
        scale = 1 / math.sqrt(width)
        return cls(batch, heads, length, length, width, side, side, side, out, scale, causal, dtype)

    @property
    def flops(self) -> int:
        """Of the two products forwards (four backwards, of the same size each), the causal half not counted."""
        pairs = self.length * self.context // (2 if self.causal else 1)
        return 4 * self.batch * self.heads * pairs * self.width


def probability_columns(spec: Attention, target: Target | None = None) -> int:
    """Columns of P as it is kept, ``(batch, heads, length, columns)``; those beyond the context are padding."""
    return padded(spec.context, (target or host_target()).lanes(spec.dtype))


def workspace_size(spec: Attention, target: Target | None = None) -> int:
    """Elements of scratch memory of either function: a head's panels, its dS, and rows that lay apart."""
    target = target or host_target()
    rows = spec.length * (_lie_apart(spec, spec.query) + _lie_apart(spec, spec.out))
    rows += spec.context * (_lie_apart(spec, spec.key) or _lie_apart(spec, spec.value))
    return probability_columns(spec, target) * (spec.width + spec.length) + rows * _whole_vectors(spec, target)


def _lie_apart(spec: Attention, heads: Heads) -> bool:
    return heads.row != spec.width


def _whole_vectors(spec: Attention, target: Target) -> int:
    """Columns of rows that are copied side by side."""
    lanes = target.lanes(spec.dtype)
    return -(-spec.width // lanes) * lanes


def emit_attention(module: ir.Module, name: str, spec: Attention, target: Target | None = None) -> ir.Function:
    """Define ``void name(query, key, value, out, probabilities, workspace)``, with the mask last if there is one."""
    with function(module, name, [spec.dtype] * (7 if spec.mask else 6), target, spec.dtype) as (b, *pointers):
        _Forward(b, spec).emit(*pointers)
    return module.globals[name]


def emit_attention_backward(module: ir.Module, name: str, spec: Attention, target: Target | None = None) -> ir.Function:
    """Define ``void name(query, key, value, probabilities, g, dquery, dkey, dvalue, workspace)``.

    Gradients are overwritten; ``g`` lies like ``out``.
    """
    with function(module, name, [spec.dtype] * 9, target, spec.dtype) as (b, *pointers):
        _Backward(b, spec).emit(*pointers)
    return module.globals[name]


class _Heads:
    """What both directions share: loops over heads and row tiles, and bounds behind a causal mask."""

    def __init__(self, b: VectorBuilder, spec: Attention) -> None:
        self.b, self.spec, self.tiles = b, spec, Subroutines(b)
        self.columns = probability_columns(spec, b.target)
        self.panel = b.lanes if self.columns == b.lanes else 2 * b.lanes
        self.limit = tile_rows(b)
        self.halved = spec.causal and spec.length == spec.context  # then tiles of rows and of columns begin alike

    def each_head(self, body: Any) -> None:
        """``body(place, following, n)``: ``place(layout)`` is where a head begins, ``following(layout)`` where the one
        behind it does, and ``n`` its number among all heads."""
        b, spec = self.b, self.spec

        def head(i: Any, h: Any) -> None:
            i, h = b.index(i), b.index(h)
            last = h + 1 >= spec.heads
            body(
                lambda layout: i * layout.batch + h * layout.head,
                lambda layout: b.where(last, (i + 1) * layout.batch, i * layout.batch + (h + 1) * layout.head),
                i * spec.heads + h,
            )

        b.loop(0, spec.batch, 1, lambda i: b.loop(0, spec.heads, 1, lambda h: head(i, h)))

    def ask(self, sources: Sequence[tuple[Pointer, int, int]], i: Any, count: int) -> None:
        """Ask for some rows of what begins at each pointer, so far apart and so wide: the next head's, tile by tile."""
        for source, step, width in sources:
            for r in range(count):
                self.b.prefetch(source + (self.b.index(i) + r) * step, width, near=2)

    def each_tile(self, rows: int, body: Any) -> None:
        """``body(first row, how many)`` for tiles of rows."""
        for start, stop, count in even_groups(rows, self.limit, self.limit // 2):
            self.b.loop(start, stop, count, lambda i, count=count: body(i, count))

    def reach(self, i: Any, count: int) -> Any:
        """Columns that rows ``i … i + count`` need: all, or those up to the last of them."""
        return i + count if self.halved else self.spec.context

    def pack(self, source: Pointer, row: int, panels: Pointer) -> None:
        """Rows of one head, transposed into panels."""
        width, context = self.spec.width, self.spec.context
        whole = context // self.panel

        def one(j: Any, columns: int) -> None:
            place = panels + j * (self.panel * width)
            pack_columns(self.b, source + j * (self.panel * row), row, width, columns, place, self.panel)

        self.b.loop(0, whole, 1, lambda j: one(j, self.panel))
        if context % self.panel:
            one(whole, context % self.panel)

    def step(self, heads: Heads) -> int:
        """From row to row of what is read again and again."""
        return _whole_vectors(self.spec, self.b.target) if _lie_apart(self.spec, heads) else heads.row

    def near(self, source: Pointer, heads: Heads, rows: int, place: Pointer) -> Pointer:
        """Rows of one head side by side: where they are, or copied to a place."""
        if not _lie_apart(self.spec, heads):
            return source
        pack_rows(self.b, source, heads.row, rows, self.spec.width, place, self.step(heads))
        return place

    def multiple(self, rows: int, depth: int) -> int:
        """What the number of terms of sums over ``depth``, cut at tiles of ``rows``, is always a multiple of."""
        sizes = [size for _, _, size in even_groups(rows, self.limit, self.limit // 2)]
        return math.gcd(depth, *sizes) if self.halved else depth


class _Forward(_Heads):
    def emit(
        self, query: Pointer, key: Pointer, value: Pointer, out: Pointer, kept: Pointer, panels: Pointer, *mask: Pointer
    ) -> None:
        spec = self.spec
        scores = SmallProduct(
            self.tiles,
            "scores",
            self.columns,
            Steps(spec.query.row, 1, self.panel, self.columns),
            self.panel * spec.width,
            spec.scale,
            spec.width,
        )
        means = Steps(self.columns, 1, self.step(spec.value), spec.out.row)
        mean = SmallProduct(self.tiles, "mean", spec.width, means, multiple=self.multiple(spec.length, spec.context))

        read = (query, spec.query), (key, spec.key), (value, spec.value)

        def head(place: Any, following: Any, n: Any) -> None:
            q, k, v, o = (p + place(layout) for p, layout in (*read, (out, spec.out)))
            coming = [(source + following(layout), layout.row, spec.width) for source, layout in read]
            p = kept + n * (spec.length * self.columns)
            masks = [m + place(spec.mask) for m in mask if spec.mask]
            self.pack(k, spec.key.row, panels)
            v = self.near(v, spec.value, spec.context, panels + self.columns * spec.width)

            def tile(i: Any, count: int) -> None:
                reach, rows = self.reach(i, count), p + i * self.columns
                self.ask(coming, i, count)
                scores.rows(count, q + i * spec.query.row, panels, rows, spec.width, reach)
                self._softmax(rows, [m + i * self._mask_step for m in masks], i, count, reach)
                mean.rows(count, rows, v, o + i * spec.out.row, reach)

            self.each_tile(spec.length, tile)

        self.each_head(head)

    def _softmax(self, rows: Pointer, mask: Sequence[Pointer], i: Any, count: int, reach: Any) -> None:
        """Each row of a tile in place; zeros behind what it may see, to the end of the tile's last panel.

        ``mask``: the mask's row for the tile's first one, or nothing.
        """
        step = self._mask_step
        for r in range(0, count, _ROWS):
            several = min(_ROWS, count - r)
            self.tiles.call(
                ("softmax", several),
                [rows + r * self.columns, i + r, reach, *[m + r * step for m in mask]],
                lambda b, row, i, reach, *mask, several=several: self._rows(
                    b, [self._scores(b, n, row, i, mask) for n in range(several)], reach
                ),
            )

    @property
    def _mask_step(self) -> int:
        return self.spec.mask.row if self.spec.mask else 0

    def _scores(self, b: VectorBuilder, n: int, row: Pointer, i: Value, mask: Sequence[Pointer]) -> _Scores:
        """The n-th row behind one."""
        return _Scores(b, self.spec, row + n * self.columns, i + n, [m + n * self._mask_step for m in mask])

    def _rows(self, b: VectorBuilder, rows: Sequence[_Scores], reach: Value) -> None:
        """Rows side by side: one by one, each step would wait for the one before."""
        end = (reach + (self.panel - 1)) // self.panel * self.panel

        def top(j: Value, *best: Value) -> list[Value]:
            return [b.maximum(x.seen(j, x.score(j), -math.inf), y) for x, y in zip(rows, best, strict=True)]

        def raised(j: Value, *totals: Value) -> list[Value]:
            e = [x.seen(j, exp(b, x.score(j) - y), 0.0) for x, y in zip(rows, lifted, strict=True)]
            for x, value in zip(rows, e, strict=True):
                x.row.store(value, j)
            return [total + value for total, value in zip(totals, e, strict=True)]

        def shared(j: Value) -> None:
            for x, share in zip(rows, shares, strict=True):
                x.row.store(x.row.load(j) * share, j)

        best = b.loop(b.index(0), end, b.lanes, top, [b.number(-math.inf)] * len(rows))
        highest = [b.max(x) for x in best]
        # No key at all: the row stays zero, as eagerly and in PyTorch.
        lifted = [b.splat(b.where(x == -math.inf, 0.0, x)) for x in highest]
        totals = b.loop(b.index(0), end, b.lanes, raised, [b.number(0.0)] * len(rows))
        shares = [b.splat(1.0 / b.maximum(b.sum(total), 1.0)) for total in totals]
        b.loop(b.index(0), end, b.lanes, shared)


class _Scores:
    """A row of scores, of which query ``i`` sees those that come before it and that a mask leaves."""

    def __init__(self, b: VectorBuilder, spec: Attention, row: Pointer, i: Value, mask: Sequence[Pointer]) -> None:
        self.b, self.row, self.mask, self.added = b, row, mask, spec.added
        sees = b.minimum(i + 1, spec.context) if spec.causal else b.index(spec.context)
        self.first, self.limit = b.iota(INT32), b.convert(sees, INT32)

    def score(self, j: Value) -> Value:
        """Some of them."""
        return self.row.load(j) + self.mask[0].load(j) if self.mask and self.added else self.row.load(j)

    def seen(self, j: Value, x: Value, otherwise: float) -> Value:
        """``x`` where the query looks."""
        inside = self.first + self.b.convert(j, INT32) < self.limit
        if self.mask and not self.added:
            inside = inside & (self.mask[0].load(j) != 0)
        return self.b.where(inside, x, otherwise)


class _Backward(_Heads):
    @property
    def gradients(self) -> Gradients:
        """Where gradients lie."""
        return self.spec.gradients or Gradients(self.spec.query, self.spec.key, self.spec.value)

    def emit(
        self,
        query: Pointer,
        key: Pointer,
        value: Pointer,
        kept: Pointer,
        g: Pointer,
        dquery: Pointer,
        dkey: Pointer,
        dvalue: Pointer,
        workspace: Pointer,
    ) -> None:
        spec, columns = self.spec, self.columns
        to = self.gradients
        panels, ds = workspace, workspace + columns * spec.width
        keys = ds + columns * spec.length
        queries = keys + spec.context * self.step(spec.key) * _lie_apart(spec, spec.key)
        above_all = queries + spec.length * self.step(spec.query) * _lie_apart(spec, spec.query)
        scores, to_query, to_key, to_value = self._products()

        read = (query, spec.query), (key, spec.key), (value, spec.value), (g, spec.out)

        def head(place: Any, following: Any, n: Any) -> None:
            dq, dk, dv = (p + place(h) for p, h in zip((dquery, dkey, dvalue), to, strict=True))
            p = kept + n * (spec.length * columns)
            coming = [(source + following(layout), layout.row, spec.width) for source, layout in read]
            coming.append((p + spec.length * columns, columns, columns))
            self.pack(value + place(spec.value), spec.value.row, panels)
            q = self.near(query + place(spec.query), spec.query, spec.length, queries)
            k = self.near(key + place(spec.key), spec.key, spec.context, keys)
            above = self.near(g + place(spec.out), spec.out, spec.length, above_all)

            def rows(i: Any, count: int) -> None:
                reach, line = self.reach(i, count), ds + i * columns
                self.ask(coming, i, count)
                scores.rows(count, above + i * self.step(spec.out), panels, line, spec.width, reach)
                self._through_softmax(line, p + i * columns, count, reach)
                to_query.rows(count, line, k, dq + i * to.query.row, reach)

            def context(j: Any, count: int) -> None:
                begin = j if self.halved else 0
                depth = spec.length - begin
                down = begin * columns + j
                to_value.rows(count, p + down, above + begin * self.step(spec.out), dv + j * to.value.row, depth)
                to_key.rows(count, ds + down, q + begin * self.step(spec.query), dk + j * to.key.row, depth)

            self.each_tile(spec.length, rows)
            self.each_tile(spec.context, context)

        self.each_head(head)

    def _products(self) -> list[SmallProduct]:
        """dP = dO Vᵀ, dQ = s dS K, dK = s dSᵀ Q and dV = Pᵀ dO."""
        spec, tiles, columns, width = self.spec, self.tiles, self.columns, self.spec.width
        down, across = self.multiple(spec.context, spec.length), self.multiple(spec.length, spec.context)
        query, key, g, to = self.step(spec.query), self.step(spec.key), self.step(spec.out), self.gradients
        scores = Steps(g, 1, self.panel, columns)
        to_query, to_key = Steps(columns, 1, key, to.query.row), Steps(1, columns, query, to.key.row)
        return [
            SmallProduct(tiles, "dP", columns, scores, self.panel * width, multiple=width),
            SmallProduct(tiles, "dQ", width, to_query, scale=spec.scale, multiple=across),
            SmallProduct(tiles, "dK", width, to_key, scale=spec.scale, multiple=down),
            SmallProduct(tiles, "dV", width, Steps(1, columns, g, to.value.row), multiple=down),
        ]

    def _through_softmax(self, line: Pointer, p: Pointer, count: int, reach: Any) -> None:
        """dP to dS in place."""
        for r in range(0, count, _ROWS):
            several = min(_ROWS, count - r)
            self.tiles.call(
                ("through", several),
                [line + r * self.columns, p + r * self.columns, reach],
                lambda b, line, p, reach, several=several: self._rows(
                    b, [(line + n * self.columns, p + n * self.columns) for n in range(several)], reach
                ),
            )

    def _rows(self, b: VectorBuilder, rows: Sequence[tuple[Pointer, Pointer]], reach: Value) -> None:
        """Rows side by side, as forwards."""
        end = (reach + (self.panel - 1)) // self.panel * self.panel

        def products(j: Value, *totals: Value) -> list[Value]:
            return [b.muladd(line.load(j), p.load(j), total) for (line, p), total in zip(rows, totals, strict=True)]

        def finish(j: Value) -> None:
            for (line, p), mean in zip(rows, means, strict=True):
                line.store((line.load(j) - mean) * p.load(j), j)

        totals = b.loop(b.index(0), end, b.lanes, products, [b.number(0.0)] * len(rows))
        means = [b.splat(b.sum(total)) for total in totals]
        b.loop(b.index(0), end, b.lanes, finish)


__all__ = [
    "Attention",
    "Gradients",
    "Heads",
    "emit_attention",
    "emit_attention_backward",
    "probability_columns",
    "workspace_size",
]
