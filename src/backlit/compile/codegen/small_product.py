"""Products of matrices small enough for the caches, row tile by row tile, with bounds that the caller knows for each
tile.

Attention is made of these: behind a causal mask each tile of rows needs only so many columns, or so much of the sum.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .gemm_plan import Panel, tile_shape
from .subroutines import Subroutines
from .tile_sum import Level, TileSum
from .values import Pointer, Value
from .vector import VectorBuilder


class Steps(NamedTuple):
    """Distances in memory: of the left from row to row and along k, and of right and out from row to row."""

    left_row: int
    left_k: int
    right: int
    out: int


class SmallProduct:
    """``out[i, :columns] = scale · Σ_k left[i, k] right[k, :]`` for tiles of rows.

    ``panel_step`` is how far panels of the right side are apart (by default its columns lie side by side in a row);
    ``multiple`` is what every depth is a multiple of.
    """

    def __init__(
        self,
        tiles: Subroutines,
        name: str,
        columns: int,
        steps: Steps,
        panel_step: int | None = None,
        scale: float = 1.0,
        multiple: int = 1,
    ) -> None:
        b = tiles.b
        self.tiles, self.name, self.steps, self.scale, self.multiple = tiles, name, steps, scale, multiple
        self.panels, _ = tile_shape(columns, b.lanes, b.target.registers)
        self.width = self.panels[0].vectors * b.lanes
        self.panel_step = self.width if panel_step is None else panel_step

    def rows(self, count: int, left: Pointer, right: Pointer, out: Pointer, depth: Any, reach: Any = None) -> None:
        """``count`` rows of the product, over ``depth`` steps of k; with ``reach`` only panels that begin before it."""
        b, whole = self.tiles.b, [p for p in self.panels if p.columns == self.panels[0].columns]
        stop: Any = len(whole) if reach is None else panels_before(b, reach, self.width)

        def panel(j: Any, shape: Panel) -> None:
            self.tiles.call(
                (self.name, count, shape.columns),
                [left, right + j * self.panel_step, out + j * self.width, depth],
                lambda b, *arguments: self._tile(b, count, shape, *arguments),
            )

        b.loop(0, stop, 1, lambda j: panel(j, whole[0]))
        if len(whole) < len(self.panels):
            panel(len(whole), self.panels[-1])

    def _tile(
        self, b: VectorBuilder, count: int, panel: Panel, left: Pointer, right: Pointer, out: Pointer, depth: Value
    ) -> None:
        steps, masks = self.steps, panel.masks(b)
        tile = TileSum(b, [r * steps.left_row for r in range(count)], masks)
        zeros = [b.number(0.0)] * (count * panel.vectors)
        sums = tile.run(left, right, [Level(depth, steps.left_k, steps.right, self.multiple)], zeros)
        for place, value in enumerate(sums):
            r, v = divmod(place, panel.vectors)
            scaled = value if self.scale == 1.0 else value * self.scale
            out.store(scaled, r * steps.out + v * b.lanes, masks[v])


def panels_before(b: VectorBuilder, reach: Any, width: int) -> Any:
    """How many panels of ``width`` columns begin before column ``reach``."""
    return -(-reach // width) if isinstance(reach, int) else (reach + (width - 1)) // width


def padded(columns: int, lanes: int) -> int:
    """So many columns that all panels are whole and of one width."""
    width = lanes if columns <= lanes else 2 * lanes
    return math.ceil(columns / width) * width


def tile_rows(b: VectorBuilder, vectors: int = 2) -> int:
    """How many rows a tile over panels of so many vectors may have."""
    return min((b.target.registers - 2 - vectors) // vectors, 24)


__all__ = ["SmallProduct", "Steps", "padded", "panels_before", "tile_rows"]
