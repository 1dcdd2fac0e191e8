"""3×3 convolutions with 2.25 times fewer multiplications: Winograd's F(2×2, 3×3), after Lavin and Gray (2016).

Each 2×2 block of outputs takes a 4×4 patch d of inputs: Y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A. The products over channels are
16 matrix products, one for each place of the patch, over all blocks at once. Rounding errors are a few times those of
the direct sum. A non-finite input reaches all four outputs of its block, also those whose own window does not contain
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from .convolution_plan import Convolution
from .gemm_plan import Panel, even_groups, tile_shape
from .small_product import SmallProduct, Steps
from .subroutines import Subroutines
from .target import Target, host_target
from .values import Pointer, Value
from .vector import VectorBuilder

_PLACES = 16
_BLOCKS = 64
"""Output blocks worked on at a time, in whole rows of them: their transforms stay in a second-level cache."""

Square = list[list[Value]]
Finish = Callable[..., None]
"""``finish(b, outputs[2][2], row, column, channel, mask, *extras)``: what to do with the outputs of one block."""


def supports(spec: Convolution) -> bool:
    """Whether a convolution can be done this way: 3×3, no stride, no dilation, one group, padding of at most 2."""
    settings = (spec.kernel, spec.stride, spec.dilation, spec.groups)
    return settings == ((3, 3), (1, 1), (1, 1), 1) and max(spec.padding) <= 2


def pays(spec: Convolution) -> bool:
    """Whether it is quicker than the direct sum: with few channels, transforms cost more than they save."""
    return supports(spec) and min(spec.x.channels, spec.out_channels) >= 16


def weights_size(channels: int, columns: int, target: Target | None = None, dtype: str = "float32") -> int:
    """Elements of transformed weights from ``channels`` to ``columns`` of them."""
    target = target or host_target()
    lanes = target.lanes(dtype)
    panels, _ = tile_shape(columns, lanes, target.registers)
    return _PLACES * channels * lanes * sum(p.vectors for p in panels)


def transform_weights(b: VectorBuilder, packed: Pointer, out: Pointer, channels: int, columns: int) -> None:
    """G g Gᵀ of weights packed in panels (tap, channel, column), panel by panel, into (place, channel, column)."""
    panels, _ = tile_shape(columns, b.lanes, b.target.registers)
    full = panels[0].vectors * b.lanes
    for panel in panels:
        width, begin = panel.vectors * b.lanes, panel.column // full * full * channels
        source, target = packed + 9 * begin, out + _PLACES * begin

        def place(i: Any, width: int = width, source: Pointer = source, target: Pointer = target) -> None:
            taps = [[source.load(i + (r * 3 + s) * channels * width) for s in range(3)] for r in range(3)]
            spread = _both_ways(taps, _spread_weights)
            for number, value in enumerate(x for row in spread for x in row):
                target.store(value, i + number * channels * width)

        b.loop(0, channels * width, b.lanes, place)


def _both_ways(square: Square, transform: Callable[[Sequence[Value]], list[Value]]) -> Square:
    """The transform of every column, then of every row."""
    columns = [transform(column) for column in zip(*square, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


def _spread_weights(g: Sequence[Value]) -> list[Value]:
    outer = (g[0] + g[2]) * 0.5
    half = g[1] * 0.5
    return [g[0], outer + half, outer - half, g[2]]


def _spread_inputs(d: Sequence[Value]) -> list[Value]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _gather_outputs(m: Sequence[Value]) -> list[Value]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


@dataclasses.dataclass(frozen=True)
class Blocks:
    """2×2 blocks of outputs of one image, and how the inputs lie: distances from row to row and pixel to pixel.

    ``height × width`` are the outputs wanted; where they are odd, the last blocks hang over. ``room`` is how many rows
    and pixels of input there are, margins included, from the first patch on: what hangs over is not read beyond.
    """

    height: int
    width: int
    row: int
    pixel: int
    room: tuple[int, int]

    @property
    def counts(self) -> tuple[int, int]:
        """Rows of blocks, and blocks a row."""
        return -(-self.height // 2), -(-self.width // 2)

    @property
    def rows_at_once(self) -> int:
        """Rows of blocks worked on together."""
        return min(max(_BLOCKS // self.counts[1], 1), self.counts[0])


class Winograd:
    """Emits one image's convolution from ``channels`` to ``columns``, block by block handed to ``finish``."""

    def __init__(self, b: VectorBuilder, blocks: Blocks, channels: int, columns: int, finish: Finish) -> None:
        self.b, self.blocks, self.channels, self.columns, self.finish = b, blocks, channels, columns, finish
        self.tiles = Subroutines(b)
        self.panels, self.limit = tile_shape(columns, b.lanes, b.target.registers)
        self.width = self.panels[0].vectors * b.lanes
        self.padded = -(-channels // b.lanes) * b.lanes

    @property
    def at_once(self) -> int:
        """Blocks worked on together, at most."""
        return self.blocks.rows_at_once * self.blocks.counts[1]

    @property
    def workspace(self) -> int:
        """Elements of scratch memory: the transforms of inputs and of outputs."""
        return _PLACES * self.at_once * (self.padded + self.width)

    def emit(self, left: Pointer, weights: Pointer, workspace: Pointer, extras: Sequence[Pointer]) -> None:
        """``left`` is the first patch's first pixel; the pointers of ``extras`` are handed on to ``finish``."""
        rows, step = self.blocks.counts[0], self.blocks.rows_at_once
        whole = rows - rows % step
        self.b.loop(0, whole, step, lambda y: self._rows(y, step, left, weights, workspace, extras))
        if whole < rows:
            self._rows(whole, rows - whole, left, weights, workspace, extras)

    def _rows(
        self, y: Any, rows: int, left: Pointer, weights: Pointer, workspace: Pointer, extras: Sequence[Pointer]
    ) -> None:
        """Some rows of blocks: inputs transformed, then for each panel of columns the products and the outputs."""
        b, count = self.b, rows * self.blocks.counts[1]
        inputs, outputs = workspace, workspace + _PLACES * self.at_once * self.padded
        self.tiles.call(("inputs", rows), [left, inputs, y], lambda b, *given: self._inputs(b, rows, *given))

        def panel(j: Any, shape: Panel) -> None:
            self._products(shape, count, inputs, weights + j * (_PLACES * self.channels * self.width), outputs)
            self.tiles.call(
                ("outputs", rows, shape.columns),
                [outputs, y, j * self.width, *extras],
                lambda b, *given: self._outputs(b, rows, shape, *given),
            )

        equal = [p for p in self.panels if p.columns == self.panels[0].columns]
        b.loop(0, len(equal), 1, lambda j: panel(j, equal[0]))
        if len(equal) < len(self.panels):
            panel(len(equal), self.panels[-1])

    def _each_block(self, b: VectorBuilder, rows: int, body: Callable[[Any, Any, Any], None]) -> None:
        """``body(row, column, number)`` of every block."""
        wide = self.blocks.counts[1]
        b.loop(0, rows, 1, lambda y: b.loop(0, wide, 1, lambda x: body(y, x, y * wide + x)))

    def _inputs(self, b: VectorBuilder, rows: int, left: Pointer, out: Pointer, first: Value) -> None:
        """Bᵀ d B of all patches, into (place, block, channel)."""
        blocks = self.blocks
        high, wide = (
            self._offsets(b, n, room) for n, room in zip((blocks.height, blocks.width), blocks.room, strict=True)
        )

        def block(y: Any, x: Any, number: Any) -> None:
            down = [offset * blocks.row for offset in high((first + y) * 2)]
            across = [offset * blocks.pixel for offset in wide(b.index(x) * 2)]

            def channels(c: Any, mask: Value | None) -> None:
                patch = [[left.load(i + j + c, mask=mask) for j in across] for i in down]
                spread = _both_ways(patch, _spread_inputs)
                target = out + number * self.padded + c
                for place, value in enumerate(value for row in spread for value in row):
                    target.store(value, place * (self.at_once * self.padded))

            b.sweep(self.channels, channels)

        self._each_block(b, rows, block)

    def _offsets(self, b: VectorBuilder, outputs: int, room: int) -> Callable[[Value], list[Value]]:
        """The rows (or pixels) of a patch; what hangs over is read from the last there is, and goes into nothing."""
        if outputs % 2 == 0:
            return lambda first: [first + i for i in range(4)]
        return lambda first: [first + 0, first + 1, first + 2, b.minimum(first + 3, room - 1)]

    def _products(self, panel: Panel, count: int, inputs: Pointer, weights: Pointer, outputs: Pointer) -> None:
        """For each place the matrix product (blocks × channels) · (channels × columns)."""
        b, width = self.b, panel.vectors * self.b.lanes
        steps = Steps(self.padded, 1, width, self.width)
        product = SmallProduct(self.tiles, "product", width, steps, multiple=self.channels)

        def place(e: Any) -> None:
            left, right = inputs + e * (self.at_once * self.padded), weights + e * (self.channels * width)
            out = outputs + e * (self.at_once * self.width)
            for start, stop, rows in even_groups(count, self.limit):
                b.loop(
                    start,
                    stop,
                    rows,
                    lambda i, rows=rows: product.rows(
                        rows, left + i * self.padded, right, out + i * self.width, self.channels
                    ),
                )

        b.loop(0, _PLACES, 1, place)

    def _outputs(
        self, b: VectorBuilder, rows: int, panel: Panel, sums: Pointer, first: Value, column: Value, *extras: Pointer
    ) -> None:
        """Aᵀ m A of all blocks, handed to ``finish``."""

        def block(y: Any, x: Any, number: Any) -> None:
            for v, mask in enumerate(panel.masks(b)):
                source = sums + number * self.width + v * b.lanes
                places = [[source.load((i * 4 + j) * self.at_once * self.width) for j in range(4)] for i in range(4)]
                square = _both_ways(places, _gather_outputs)
                self.finish(b, square, first + y, b.index(x), column + v * b.lanes, mask, *extras)

        self._each_block(b, rows, block)


def store_block(
    b: VectorBuilder,
    blocks: Blocks,
    square: Square,
    y: Value,
    x: Value,
    place: Callable[[Value, Value], Pointer],
    mask: Value | None,
) -> None:
    """Store the outputs of a block that are inside the image: ``place(row, column)`` is where a pixel begins."""
    for i, row in enumerate(square):
        for j, value in enumerate(row):
            down, across = y * 2 + i, x * 2 + j
            outside = [(i, blocks.height, down), (j, blocks.width, across)]
            conditions = [at < size for last, size, at in outside if last and size % 2]
            if not conditions:
                place(down, across).store(value, 0, mask)
                continue
            with b.when(conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]):
                place(down, across).store(value, 0, mask)


__all__ = ["Blocks", "Winograd", "pays", "store_block", "supports", "transform_weights", "weights_size"]
