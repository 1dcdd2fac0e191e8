"""A correlation over a regular grid of taps, straight from the images: no columns are ever copied out.

A tile is a block of output pixels times a panel of output channels in registers. For each tap the left side is the
image, at one constant distance for each pixel of the block, and the right side a panel of weights, rows ordered by tap
and channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .gemm_plan import Panel, even_groups, tile_shape
from .images import Images
from .subroutines import Subroutines
from .tile_sum import Level, TileSum
from .values import Pointer, Value
from .vector import VectorBuilder


@dataclass(frozen=True)
class Grid:
    """Taps on the left: ``rows × columns`` of them, with their distances in elements, and ``channels`` at each."""

    rows: int
    columns: int
    row_step: int
    column_step: int
    channels: int

    def levels(self, width: int) -> list[Level]:
        """Loops over taps and channels, run together where they are neighbours in memory."""
        down = Level(self.rows, self.row_step, self.columns * self.channels * width)
        if self.column_step == self.channels or self.columns == 1:
            return [down, Level(self.columns * self.channels, 1, width)]
        return [down, Level(self.columns, self.column_step, self.channels * width), Level(self.channels, 1, width)]


@dataclass
class PixelTile:
    """Accumulators ``values[i][v]`` of pixel i, whose output is ``offset + places[i]`` elements into the output
    buffer's images, and of channels from ``column + v * lanes``, those inside ``masks[v]``."""

    values: list[list[Value]]
    places: Sequence[int]
    offset: Value
    column: Any
    masks: Sequence[Value | None]

    def map(self, f: Callable[[Value, Any, Any, Value | None], Value]) -> list[list[Value]]:
        """``f(value, offset, column, mask)`` of every vector; the offset is that of the vector's first element."""
        lanes = self.values[0][0].lanes
        return [
            [f(x, self.offset + (place + v * lanes), self.column + v * lanes, self.masks[v]) for v, x in enumerate(row)]
            for place, row in zip(self.places, self.values, strict=True)
        ]


Epilogue = Callable[..., Sequence[Sequence[Value]] | None]
"""``epilogue(b, tile, *extras)`` returns the values to store, or None where nothing is to be stored there."""


@dataclass(frozen=True)
class Window:
    """Which pixels are computed: ``height × width`` of them, and how far both sides step from one to the next."""

    height: int
    width: int
    left_row: int
    left_pixel: int
    out_row: int
    out_pixel: int

    def blocks(self, limit: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """Groups of rows and of columns whose products are tiles of at most ``limit`` pixels."""
        if self.width > limit // 2:
            return [((0, self.height, 1), columns) for columns in even_groups(self.width, limit)]
        return [(rows, (0, self.width, self.width)) for rows in even_groups(self.height, limit // self.width)]


class Correlation:
    """Emits the tiles of one correlation into the current function; each shape of tile is a subroutine."""

    def __init__(
        self,
        b: VectorBuilder,
        window: Window,
        grid: Grid,
        columns: int,
        epilogue: Epilogue | None = None,
        extras: Sequence[Pointer] = (),
        bias: bool = False,
    ) -> None:
        self.b, self.window, self.grid = b, window, grid
        self.epilogue, self.extras, self.bias = epilogue, list(extras), bias
        self.panels, self.limit = tile_shape(columns, b.lanes, b.target.registers)
        self.tiles = Subroutines(b)

    @property
    def width(self) -> int:
        """Columns of a full panel."""
        return self.panels[0].vectors * self.b.lanes

    @property
    def panel_size(self) -> int:
        """Elements of one full panel of weights."""
        return self.grid.rows * self.grid.columns * self.grid.channels * self.width

    def emit(
        self, left: Pointer, weights: Pointer, out: Pointer, offset: Any, column: Any = 0, start: Pointer | None = None
    ) -> None:
        """One image: ``left`` is what the first tap of the first pixel reads; ``out + offset`` is that pixel's output.

        ``column`` is the number of the first output channel, and ``start`` the bias that sums begin with.
        """

        def panel(j: Any, shape: Panel) -> None:
            begin = out if start is None else start + j * self.width
            panel_of = weights + j * self.panel_size
            self.emit_panel(shape, left, panel_of, out, offset + j * self.width, column + j * self.width, begin)

        self.each_panel(panel)

    def each_panel(self, body: Callable[[Any, Panel], None]) -> None:
        """Run ``body(number, panel)``, for panels of equal width in a loop."""
        equal = [p for p in self.panels if p.columns == self.panels[0].columns]
        self.b.loop(0, len(equal), 1, lambda j: body(j, equal[0]))
        if len(equal) < len(self.panels):
            body(len(equal), self.panels[-1])

    def emit_panel(
        self, panel: Panel, left: Pointer, weights: Pointer, out: Pointer, offset: Any, column: Any, start: Pointer
    ) -> None:
        """All tiles over one panel, whose weights, first output and bias the pointers are."""
        b, window = self.b, self.window

        def tile(y: Any, x: Any, high: int, wide: int) -> None:
            source = left + y * window.left_row + x * window.left_pixel
            place = offset + y * window.out_row + x * window.out_pixel
            self.tiles.call(
                (panel.columns, high, wide),
                [source, weights, out, start, place, column, *self.extras],
                lambda b, *arguments: self._tile(b, panel, high, wide, *arguments),
            )

        def block(rows: tuple[int, int, int], columns: tuple[int, int, int]) -> None:
            high, wide = rows[2], columns[2]
            b.loop(*rows, lambda y: b.loop(*columns, lambda x: tile(y, x, high, wide)))

        for rows, columns in window.blocks(self.limit):
            block(rows, columns)

    def _tile(
        self,
        b: VectorBuilder,
        panel: Panel,
        high: int,
        wide: int,
        left: Pointer,
        weights: Pointer,
        out: Pointer,
        start: Pointer,
        offset: Value,
        column: Value,
        *extras: Pointer,
    ) -> None:
        """The body of the function for one block of pixels."""
        window, vectors, masks = self.window, panel.vectors, panel.masks(b)
        pixels = [(y, x) for y in range(high) for x in range(wide)]
        starts = [start.load(v * b.lanes, mask=m) if self.bias else b.number(0.0) for v, m in enumerate(masks)]
        tile = TileSum(b, [y * window.left_row + x * window.left_pixel for y, x in pixels], [None] * vectors)
        sums = tile.run(left, weights, self.grid.levels(vectors * b.lanes), starts * len(pixels))
        grid = [sums[i * vectors : (i + 1) * vectors] for i in range(len(pixels))]
        places = [y * window.out_row + x * window.out_pixel for y, x in pixels]
        values: Sequence[Sequence[Value]] | None = grid
        if self.epilogue is not None:
            values = self.epilogue(b, PixelTile(grid, places, offset, column, masks), *extras)
        for place, row in zip(places, values or (), strict=False):
            for v, value in enumerate(row):
                (out + offset).store(value, place + v * b.lanes, masks[v])


def pack_weights(
    b: VectorBuilder,
    weights: Pointer,
    packed: Pointer,
    columns: int,
    rows: Sequence[tuple[int, int, int]],
    column_step: int,
    panels: Sequence[Panel],
) -> None:
    """Copy weights into panels. ``rows`` are nested loops ``(count, start, step)`` outermost first; columns are a step
    apart.

    What a panel's last vector has beyond the columns is zero.
    """
    full = panels[0].vectors * b.lanes
    total = 1
    for count, _, _ in rows:
        total *= count
    for panel in panels:
        width = panel.vectors * b.lanes
        base = packed + (panel.column // full) * (total * full)

        def copy(row: Any, source: Pointer, panel: Panel = panel, width: int = width, base: Pointer = base) -> None:
            target = base + row * width
            b.loop(0, panel.columns, 1, lambda o: target.store((source + o * column_step).load(0, 0), o))
            b.loop(panel.columns, width, 1, lambda o: target.store(b.number(0.0, 0), o))

        def nest(level: int, row: Any, source: Pointer, copy: Any = copy) -> None:
            if level == len(rows):
                copy(row, source)
                return
            count, start, step = rows[level]
            b.loop(0, count, 1, lambda i: nest(level + 1, row * count + i, source + (start + i * step)))

        nest(0, 0, weights + panel.column * column_step)


__all__ = ["Correlation", "Epilogue", "Grid", "Images", "PixelTile", "Window", "pack_weights"]
