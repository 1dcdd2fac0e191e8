"""The gradient to a convolution's weights: each tap and input channel is a row of a tile, summed over all pixels.

A tile takes rows at constant distances in the image (neighbouring channels and taps) times a panel of output channels,
and runs over the pixels of one image after the other; in between, sums rest in a workspace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .convolution_plan import Convolution
from .gemm_plan import Panel, even_groups, tile_shape
from .images import Images
from .subroutines import Subroutines
from .target import Target, host_target
from .tile_sum import Level, TileSum
from .values import Pointer
from .vector import VectorBuilder, function


def workspace_size_weights(spec: Convolution, target: Target | None = None) -> int:
    """Elements of scratch memory for :func:`emit_backward_weights`."""
    target = target or host_target()
    panels, _ = tile_shape(spec.group_channels[1], target.lanes(spec.dtype), target.registers)
    return spec.groups * math.prod(spec.kernel) * spec.group_channels[0] * _width(panels, target.lanes(spec.dtype))


def _width(panels: Sequence[Panel], lanes: int) -> int:
    return sum(p.vectors for p in panels) * lanes


def emit_backward_weights(
    module: ir.Module, name: str, spec: Convolution, dy: Images, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, dy, dw, workspace)``; dw is in the library's order and is overwritten."""
    target = target or host_target()
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, x, g, dw, workspace):
        gradient = WeightGradient(b, spec, dy)
        gradient.clear(workspace)
        b.loop(0, spec.x.batch, 1, lambda n: gradient.add(x + n * spec.x.image, g + n * dy.image, workspace))
        gradient.finish(workspace, dw)
    return module.globals[name]


class WeightGradient:
    """The gradient to the weights image by image: :meth:`clear`, :meth:`add` for each image, :meth:`finish`."""

    def __init__(self, b: VectorBuilder, spec: Convolution, dy: Images) -> None:
        self.b, self.spec, self.dy = b, spec, dy
        self.panels, self.limit = tile_shape(spec.group_channels[1], b.lanes, b.target.registers)
        self.width = _width(self.panels, b.lanes)
        self.rows = math.prod(spec.kernel) * spec.group_channels[0]
        self.tiles = Subroutines(b)

    def clear(self, sums: Pointer) -> None:
        """Sums begin at 0."""
        zero = self.b.number(0.0)
        self.b.loop(0, self.spec.groups * self.rows * self.width, self.b.lanes, lambda i: sums.store(zero, i))

    def add(self, x: Pointer, g: Pointer, sums: Pointer) -> None:
        """Add what one image of x and of the upstream gradient gives."""
        spec, (channels, columns) = self.spec, self.spec.group_channels
        corner = spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1])

        def group(i: Any) -> None:
            left, right = x + (i * channels + corner), g + (i * columns + self.dy.origin)
            self._tiles(left, right, sums + i * (self.rows * self.width))

        self.b.loop(0, spec.groups, 1, group)

    def finish(self, sums: Pointer, dw: Pointer) -> None:
        """Write the gradient in the library's order."""
        size, into = self.rows * self.width, self.spec.group_channels[1] * self.rows
        self.b.loop(0, self.spec.groups, 1, lambda i: self._unpack(sums + i * size, dw + i * into))

    def _runs(self) -> list[tuple[list[int], int, int]]:
        """Rows of the workspace: the distances of a tile's rows on the left, how many such tiles, how far they step."""
        spec = self.spec
        (high, wide), channels = spec.kernel, spec.group_channels[0]
        down, across = spec.dilation[0] * spec.x.row, spec.dilation[1] * spec.x.pixel
        every = [r * down + s * across + c for r in range(high) for s in range(wide) for c in range(channels)]
        if len(every) <= self.limit:
            return [(every, 1, 0)]
        size = wide * channels if across == channels else channels
        found = []
        for begin in range(0, len(every), size):
            for first, last, rows in even_groups(size, self.limit):
                base = every[begin + first]
                found.append(([base + i for i in range(rows)], (last - first) // rows, rows))
        return found

    def _tiles(self, left: Pointer, right: Pointer, sums: Pointer) -> None:
        """All tiles of one image and one group."""
        row, wide = 0, self.panels[0].vectors * self.b.lanes
        for offsets, count, step in self._runs():
            for j, panel in enumerate(self.panels):
                begin = sums + (row * self.width + j * wide)
                self._column(panel, offsets, count, step, left, right + j * wide, begin)
            row += count * len(offsets)

    def _column(
        self, panel: Panel, offsets: Sequence[int], count: int, step: int, left: Pointer, right: Pointer, begin: Pointer
    ) -> None:
        pattern = tuple(offset - offsets[0] for offset in offsets)

        def tile(i: Any) -> None:
            self.tiles.call(
                (pattern, panel.columns),
                [left + (i * step + offsets[0]), right, begin + i * (step * self.width)],
                lambda b, *pointers: self._tile(b, pattern, panel, *pointers),
            )

        self.b.loop(0, count, 1, tile)

    def _tile(
        self, b: VectorBuilder, pattern: tuple[int, ...], panel: Panel, left: Pointer, right: Pointer, out: Pointer
    ) -> None:
        """The body of the function for rows at these distances: adds the sums over one image."""
        spec, (height, width) = self.spec, self.spec.output
        places = [r * self.width + v * b.lanes for r in range(len(pattern)) for v in range(panel.vectors)]
        levels = [
            Level(height, spec.stride[0] * spec.x.row, self.dy.row),
            Level(width, spec.stride[1] * spec.x.pixel, self.dy.pixel),
        ]
        held = [out.load(place) for place in places]
        sums = TileSum(b, pattern, panel.masks(b)).run(left, right, levels, held)
        for place, value in zip(places, sums, strict=True):
            out.store(value, place)

    def _unpack(self, sums: Pointer, dw: Pointer) -> None:
        """From rows of (tap, channel) to the library's order."""
        b, (high, wide) = self.b, self.spec.kernel
        channels, columns = self.spec.group_channels
        taps = high * wide

        def row(t: Any, c: Any) -> None:
            source, target = sums + (t * channels + c) * self.width, dw + c * taps + t
            b.loop(0, columns, 1, lambda o: target.store(source.load(o, 0), o * (channels * taps)))

        b.loop(0, taps, 1, lambda t: b.loop(0, channels, 1, lambda c: row(t, c)))


__all__ = ["WeightGradient", "emit_backward_weights", "workspace_size_weights"]
