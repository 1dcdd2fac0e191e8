"""How a matrix product is cut: register tiles by the machine's registers, blocks by its caches.

A tile holds ``rows × vectors`` accumulators; each step along k loads the vectors of B once, and broadcasts one element
of A for each row. All of it, and the operands of the next step, must fit the registers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .target import Target
from .values import Value
from .vector import VectorBuilder

_DEPTH = 512  # longest run along k that is added up in registers: 14 rows of it stay in a first-level cache
_BLOCK_BYTES = 256 * 1024  # of B that is gone over again and again: half of a common second-level cache
_NEAR_BYTES = 256 * 1024  # of A that is surely at hand in a second-level cache
_SUMS_BYTES = 128 * 1024  # of scalar products that wait on the stack for the epilogue
_ROWS_BYTES = 32 * 1024  # of A that scalar products go over again and again: a first-level cache
_ADDITION = 5  # cycles from one addition to a sum to the next, and one to spare
_AGAIN_BYTES = 128 * 1024  # of B that scalar products go over once for every few rows
_WAYS = 8  # rows that a first-level cache holds although they alias
_SPREAD, _FEW = 512, 64  # rows of B so many bytes apart, and so many, leave each other no room in such a cache
_FEW_TILES = 4  # rows of tiles, for which packing such rows beforehand, several panels at a time, does not pay
_LISTED_BYTES = 28 * 1024  # of B that rows with lists go over in turn: a first-level cache has room for little else
_PLACES = 256  # rows of such a block at most: a list holds bytes
_DENSE = 0.6  # the share of A that is not zero from which on lists take longer
_MANY_ROWS, _WIDE, _LONG = 32, 128, 16  # rows, columns and k from which on lists pay
_MOST_LISTED = 1 << 30  # elements of A whose number fits 32 bits
TOGETHER = 8  # tiles of rows that are packed at a time: as many cache lines of A hold their elements of one row
_ALIASING = 2048  # rows this many bytes apart fall on the same few lines of a first-level cache


@dataclass(frozen=True)
class Gemm:
    """``C[m, n] (+)= A[m, k] B[k, n]`` with shapes and strides known at compile time.

    Strides count elements, ``(rows, columns)``; C has contiguous columns and ``c_stride`` from row to row. One of
    ``b_strides`` must be 1. ``accumulate`` adds to what C holds. ``b_packed`` says that B was packed by
    :func:`~.gemm.emit_pack` for this same specification; its strides then do not matter. ``zeros``: many elements of A
    are zero.
    """

    m: int
    n: int
    k: int
    a_strides: tuple[int, int]
    b_strides: tuple[int, int]
    c_stride: int
    dtype: str = "float32"
    accumulate: bool = False
    b_packed: bool = False
    zeros: bool = False

    def __post_init__(self) -> None:
        if min(self.m, self.n, self.k) < 1:
            raise ValueError(f"Gemm: shape {self.m}×{self.n}×{self.k} is empty; there is nothing to multiply")
        if 1 not in self.b_strides:
            raise ValueError(f"Gemm: B has strides {self.b_strides}; one of its axes must be contiguous")
        if self.c_stride < self.n:
            raise ValueError(f"Gemm: rows of C are {self.c_stride} apart, fewer than its {self.n} columns")

    @classmethod
    def of(
        cls,
        m: int,
        n: int,
        k: int,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        dtype: str = "float32",
        accumulate: bool = False,
        b_packed: bool = False,
        zeros: bool = False,
    ) -> Gemm:
        """The product of row-major matrices, each of them transposed or not."""
        a = (1, m) if transpose_a else (k, 1)
        b = (1, k) if transpose_b else (n, 1)
        return cls(m, n, k, a, b, n, dtype, accumulate, b_packed, zeros)

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.n * self.k


@dataclass(frozen=True)
class Panel:
    """Neighbouring columns that one tile covers: from ``column``, ``columns`` of them in ``vectors`` registers."""

    column: int
    columns: int
    vectors: int

    def masks(self, b: VectorBuilder) -> list[Value | None]:
        """For each vector None, or the mask of the lanes inside where it is the ragged last one."""
        ragged = self.columns % b.lanes
        return [None] * (self.vectors - 1) + [b.first(ragged) if ragged else None]


@dataclass(frozen=True)
class Sparse:
    """How a product with many zeros in A is cut: B into blocks of ``depth`` rows and some vectors of columns."""

    depth: int
    groups: tuple[tuple[int, int, int], ...]
    """:func:`even_groups` of the columns' vectors: one row of the result sums up so many at a time."""
    stride: int
    """Elements from row to row of a block."""
    most: int
    """So many elements of A may be other than zero: with more, lists do not pay."""

    def runs(self, spec: Gemm) -> int:
        """The number of blocks along k."""
        return math.ceil(spec.k / self.depth)

    def copies(self, spec: Gemm) -> bool:
        """Whether rows of A are copied, since their elements do not lie side by side."""
        return spec.a_strides[1] != 1

    def row(self, lanes: int) -> int:
        """Elements of a copied row of one run: whole vectors."""
        return math.ceil(self.depth / lanes) * lanes

    def copied(self, spec: Gemm, lanes: int) -> int:
        """Elements of the copy of A."""
        return self.runs(spec) * spec.m * self.row(lanes) if self.copies(spec) else 0

    def workspace(self, spec: Gemm, lanes: int) -> int:
        """Elements, for the copy of A, where each list begins, and the places on it: bytes, and some to spare."""
        lists = 4 * (spec.m * self.runs(spec) + 1) + spec.m * spec.k + 8
        return self.copied(spec, lanes) + math.ceil(lists / np.dtype(spec.dtype).itemsize)


@dataclass(frozen=True)
class Plan:
    """Tiles and blocks of one product on one machine."""

    lanes: int
    panels: tuple[Panel, ...]
    tile_rows: int
    depths: tuple[int, ...]
    panels_a_block: int
    pack_b: bool
    pack_early: bool = False
    """The first row of tiles packs the panels of B while it multiplies by them, which hides most of the packing."""
    copy_a: bool = False
    """Rows of A are copied side by side before tiles read them again and again, since they would alias in a cache."""
    pack_a: bool = False
    """A lies transposed, and is packed: the rows of each tile as neighbours, step after step along k."""
    prefetch_a: bool = False
    """The next rows of A, too many in all for a near cache, are asked for while the ones before are multiplied."""
    turned: tuple[Gemm, Plan] | None = None
    """The product whose result is this one's transpose, and its plan, where that is computed instead."""
    sparse: Sparse | None = None
    """A is gone over by lists of what is not zero."""
    dots: bool = False
    """Scalar products along k instead of tiles: few rows, and columns of B that would have to be packed."""

    @property
    def kept_stride(self) -> int:
        """Elements for each row of the copy of A: an odd number of vectors, so that no two tiles' rows alias."""
        return (math.ceil(max(self.depths) / self.lanes) + 1 | 1) * self.lanes

    @property
    def pack_a_in_turn(self) -> bool:
        """Whether rows of A are packed just before their tiles, which then go through all columns."""
        one_block = len(self.panels) <= self.panels_a_block and self.panels[-1].columns == self.panels[0].columns
        return self.pack_a and one_block

    @property
    def width(self) -> int:
        """Columns of a full panel."""
        return self.panels[0].vectors * self.lanes

    def block(self, spec: Gemm) -> int:
        """Elements of a packed block of panels of B."""
        block = min(self.panels_a_block, len(self.panels)) * self.width * max(self.depths)
        return block if self.pack_b and not spec.b_packed else 0

    def runs(self, spec: Gemm) -> int:
        """In how many runs along k the sums are added up, between which they are in memory."""
        return max(len(self.depths), 1 if self.sparse is None else self.sparse.runs(spec))

    def workspace(self, spec: Gemm) -> int:
        """Elements of scratch memory that the product needs: a block of B, and one run along k of A."""
        if self.turned is not None:
            product, plan = self.turned
            return product.m * product.c_stride + plan.workspace(product)
        dense = self.block(spec) + (self._held(spec) * self.kept_stride if self.pack_a else 0)
        return dense if self.sparse is None else max(dense, self.sparse.workspace(spec, self.lanes))

    def _held(self, spec: Gemm) -> int:
        """Rows of A that are packed at a time."""
        return min(spec.m, TOGETHER * self.tile_rows) if self.pack_a_in_turn else spec.m

    def row_groups(self, m: int) -> list[tuple[int, int, int]]:
        """:func:`even_groups` of m rows."""
        return even_groups(m, self.tile_rows)


def even_groups(count: int, limit: int, least: int | None = None) -> list[tuple[int, int, int]]:
    """``(start, stop, size)``: ``count`` cut into pieces of at most ``limit`` and at most two, neighbouring sizes.

    One size where some of at least ``least`` (two thirds of the limit) divides the count; never a thin piece left over.
    """
    least = limit * 2 // 3 + 1 if least is None else least
    divisors = [size for size in range(min(limit, count), least - 1, -1) if count % size == 0]
    if divisors:
        return [(0, count, divisors[0])]
    pieces = math.ceil(count / limit)
    size, larger = divmod(count, pieces)
    split = larger * (size + 1)
    return [group for group in [(0, split, size + 1), (split, count, size)] if group[0] < group[1]]


def packed_elements(plan: Plan, spec: Gemm) -> int:
    """How many elements B takes in panels."""
    return spec.k * plan.lanes * sum(p.vectors for p in plan.panels)


def plan(spec: Gemm, target: Target) -> Plan:
    """Choose how a product is computed: its tiles and blocks, or its transpose's, or scalar products."""
    tiled = _tiled(spec, target)
    if _lists_pay(spec):
        return replace(tiled, sparse=_sparse(spec, target))
    if spec.b_packed:
        return tiled
    plain = replace(tiled, depths=(spec.k,), pack_b=False, pack_early=False, copy_a=False, prefetch_a=False)
    as_layers_have_it = spec.a_strides[1] == 1 and spec.b_strides[1] != 1
    if as_layers_have_it and _dots_pay(spec, target):
        return replace(plain, dots=True)
    if _turning_pays(spec, tiled.lanes):
        product = _turned(spec, tiled.lanes)
        return replace(plain, turned=(product, _tiled(product, target)))
    return tiled


def as_row(spec: Gemm, target: Target) -> Gemm | None:
    """The transpose of a product with one column, where it is one row as quickly; its operands change places.

    What follows the product takes a vector of its elements at a time then, instead of one after the other.
    """
    if spec.n > 1 or spec.m == 1 or spec.c_stride > 1 or spec.b_packed or 1 not in spec.a_strides:
        return None
    a, b = spec.a_strides, spec.b_strides
    row = Gemm(1, spec.m, spec.k, (b[1], b[0]), (a[1], a[0]), spec.m, spec.dtype, spec.accumulate)
    return row if row.b_strides[1] == 1 or plan(row, target).dots else None


def _lists_pay(spec: Gemm) -> bool:
    """Whether passing over the zeros of A is quicker, if half of it is zero (measured).

    Each row of a block costs something by itself, and so does packing it, most where it must be turned.
    """
    rows = _MANY_ROWS if spec.b_strides[1] == 1 else 2 * _MANY_ROWS
    if not spec.zeros or spec.b_packed or spec.m * spec.k > _MOST_LISTED:
        return False
    return spec.m >= rows and spec.n >= _WIDE and spec.k >= _LONG


def _sparse(spec: Gemm, target: Target) -> Sparse:
    lanes, itemsize = target.lanes(spec.dtype), np.dtype(spec.dtype).itemsize
    wide = target.registers - 2
    groups = even_groups(math.ceil(spec.n / lanes), wide, wide)  # as few as can be: each costs something by itself
    stride = max(size for _, _, size in groups) * lanes
    row = stride * itemsize
    depth = max(_LISTED_BYTES // row // lanes, 1) * lanes
    if spec.k * row <= 2 * _LISTED_BYTES:  # in one run no sums wait in memory; 4 % slower (measured), a result less
        depth = spec.k
    return Sparse(min(depth, spec.k, _PLACES), tuple(groups), stride, int(_DENSE * spec.m * spec.k))


def _tiled(spec: Gemm, target: Target) -> Plan:
    lanes, itemsize = target.lanes(spec.dtype), np.dtype(spec.dtype).itemsize
    panels, rows = tile_shape(spec.n, lanes, target.registers)
    tiles = math.ceil(spec.m / rows)
    depths = _depths(spec.k) if tiles > 1 else (spec.k,)
    again = spec.m > 1 and (len(panels) >= 3 or rows > _WAYS)
    evicted = tiles > 1 and spec.b_strides[0] * itemsize % _SPREAD == 0 and depths[0] >= _FEW
    along, across = spec.a_strides[1] == 1, spec.b_strides[1] != 1
    pack_b = spec.b_packed or across or (len(panels) > 1 and (tiles >= 8 or evicted))
    astray = spec.b_strides[0] * itemsize % _SPREAD == 0 and tiles > _FEW_TILES
    return Plan(
        lanes,
        panels,
        rows,
        depths,
        panels_a_block=max(1, _BLOCK_BYTES // (depths[0] * panels[0].vectors * lanes * itemsize)),
        pack_b=pack_b,
        pack_early=pack_b and not (spec.b_packed or across or astray),
        copy_a=along and again and spec.a_strides[0] * itemsize % _ALIASING == 0,
        pack_a=not along and again and spec.a_strides[0] == 1,
        prefetch_a=along and tiles > 1 and spec.m * spec.k * itemsize >= _NEAR_BYTES,
    )


def _dots_pay(spec: Gemm, target: Target) -> bool:
    """Whether scalar products are quicker than tiles, by what each spends beside multiplying (measured, as a share).

    Tiles pack B, the more in vain the fewer rows use it, and compute the padding of the last panel; scalar products add
    up lanes at the end of each, and read all of B for every few rows: it must be small, or the rows few. Their rows and
    sums must stay in a first-level cache.
    """
    lanes, itemsize, most = target.lanes(spec.dtype), np.dtype(spec.dtype).itemsize, dot_rows(target)
    rows = min(spec.m, most)
    tiles = 4.8 / spec.m + math.ceil(spec.n / lanes) * lanes / spec.n - 1
    fits = rows * spec.k * itemsize <= _ROWS_BYTES or spec.m <= rows
    again = spec.m < max(lanes, most + 1) or spec.n * spec.k * itemsize <= _AGAIN_BYTES
    return fits and again and rows * spec.n * itemsize <= _SUMS_BYTES and 3 * lanes / spec.k < tiles


def _turning_pays(spec: Gemm, lanes: int) -> bool:
    """Whether the transpose is quicker to compute, by estimated cycles.

    A tile's step along k multiplies two vectors a cycle; packing takes a cycle an element, since it waits for memory,
    and so does turning the result.
    """
    if 1 not in spec.a_strides:  # then A, which becomes the right side, could not be packed
        return False

    def cycles(rows: int, columns: int, packed: bool) -> float:
        return rows * math.ceil(columns / lanes) * spec.k / 2 + (columns * spec.k if packed else 0)

    turned = cycles(spec.n, spec.m, packed=spec.a_strides[0] != 1)
    return turned + spec.m * spec.n < cycles(spec.m, spec.n, packed=spec.b_strides[1] != 1)


def _turned(spec: Gemm, lanes: int) -> Gemm:
    """Cᵀ = Bᵀ Aᵀ, with rows of whole vectors, an odd number of them."""
    stride = (math.ceil(spec.m / lanes) | 1) * lanes
    a, b = spec.a_strides, spec.b_strides
    return Gemm(spec.n, spec.m, spec.k, (b[1], b[0]), (a[1], a[0]), stride, spec.dtype)


def dot_rows(target: Target) -> int:
    """Rows of a tile of scalar products at most: their vectors and all sums are held in registers."""
    return target.registers // 4


def dot_columns(target: Target, rows: int) -> int:
    """Columns of such a tile at most."""
    return min((target.registers - 2 - rows) // rows, 8)


def dot_shape(spec: Gemm, target: Target) -> tuple[int, int]:
    """Rows and columns of such a tile, so that the product takes the fewest cycles, by estimate.

    A step along k makes two products a cycle, loads two vectors a cycle, and cannot add to a sum before the last
    addition to it is done. Where B does not stay in a first-level cache, as many rows as can be read it together.
    """
    near = spec.n * spec.k * np.dtype(spec.dtype).itemsize <= _ROWS_BYTES // 2
    most = min(spec.m, dot_rows(target))

    def cycles(rows: int, columns: int) -> float:
        groups = [*[columns] * (spec.n // columns), *filter(None, [spec.n % columns])]
        return sum(max(rows * c / 2, (rows + c) / 2, _ADDITION) for c in groups) / rows

    shapes = [(r, c) for r in (range(1, most + 1) if near else [most]) for c in range(1, dot_columns(target, r) + 1)]
    return min(shapes, key=lambda shape: (cycles(*shape), -shape[0], -shape[1]))


def tile_shape(columns: int, lanes: int, registers: int) -> tuple[tuple[Panel, ...], int]:
    """The panels of so many columns, and how many rows a tile over one of them may have."""
    wide = _vectors_a_tile(math.ceil(columns / lanes))
    return _panels(columns, lanes, wide), min((registers - 2 - wide) // wide, 24)


def _vectors_a_tile(vectors: int) -> int:
    """Two vectors a row; one or three where that is all there are."""
    return vectors if vectors in (1, 3) else 2


def _panels(n: int, lanes: int, wide: int) -> tuple[Panel, ...]:
    width = wide * lanes
    return tuple(Panel(j, min(width, n - j), math.ceil(min(width, n - j) / lanes)) for j in range(0, n, width))


def _depths(k: int) -> tuple[int, ...]:
    """k in runs of one length, a multiple of four, the last of them shorter."""
    runs = math.ceil(k / _DEPTH)
    depth = math.ceil(k / runs / 4) * 4
    return (depth,) * (runs - 1) + (k - depth * (runs - 1),)


__all__ = ["TOGETHER", "Gemm", "Panel", "Plan", "as_row", "even_groups", "packed_elements", "plan", "tile_shape"]
