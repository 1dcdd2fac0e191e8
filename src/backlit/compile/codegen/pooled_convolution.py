"""Convolution, ReLU and max pooling in one pass: the convolution's own output never leaves the first-level cache.

The output is the pooled image and one byte a pixel that says which tap of the window won, or that the ReLU's gate is
closed. With these bytes :func:`emit_unpool` hands the upstream gradient back to the winners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .convolution import forward_grid, forward_window
from .convolution_plan import Convolution
from .correlation import Correlation
from .gemm_plan import Panel
from .images import Images
from .target import Target
from .values import INT8, INT32, Pointer, Value
from .vector import VectorBuilder, function

CLOSED = 255
"""The byte of a pixel whose gradient is zero, because the ReLU behind it blocks."""


def pooled_images(spec: Convolution, pool: tuple[int, int], margin: int = 0) -> Images:
    """The layout of the pooled output; windows that do not fit are dropped, as in eager mode."""
    height, width = spec.output
    return Images.of(spec.x.batch, height // pool[0], width // pool[1], spec.out_channels, margin)


def winner_bytes(pooled: Images) -> Images:
    """The layout of the winners' bytes."""
    return Images.dense(pooled.batch, pooled.height, pooled.width, pooled.channels)


def emit_pooled_convolution(
    module: ir.Module,
    name: str,
    spec: Convolution,
    pool: tuple[int, int],
    out: Images,
    target: Target | None = None,
    relu: bool = True,
) -> ir.Function:
    """Define ``void name(x, packed, out, bias, winners)`` for windows of ``pool`` side by side, of at most 254 pixels.

    ``relu`` applies the ReLU. The winner is the first largest value, or the last NaN, as in eager mode. Groups are not
    supported (ValueError).
    """
    if spec.groups != 1 or pool[0] * pool[1] > 254:
        raise ValueError(f"emit_pooled_convolution: groups={spec.groups}, pool={pool}; one group, at most 254 pixels")
    dtype = spec.dtype
    with function(module, name, [dtype] * 4 + ["uint8"], target, dtype) as (b, x, packed, y, bias, winners):
        _PooledRows(b, spec, pool, out, relu).emit(x, packed, y, bias, winners)
    return module.globals[name]


class _PooledRows:
    """For each image, panel and row of windows: the tiles of its rows into a small buffer, then the windows' maxima."""

    def __init__(self, b: VectorBuilder, spec: Convolution, pool: tuple[int, int], out: Images, relu: bool) -> None:
        self.b, self.spec, self.pool, self.out, self.relu = b, spec, pool, out, relu
        self.bytes = winner_bytes(out)
        columns = out.width * pool[1]
        window = forward_window(spec, out)
        width = Correlation(b, window, forward_grid(spec), spec.out_channels).width
        window = dataclasses.replace(window, height=pool[0], width=columns, out_row=columns * width, out_pixel=width)
        self.product = Correlation(b, window, forward_grid(spec), spec.out_channels, bias=True)
        self.buffer = b.array(pool[0] * columns * width)

    def emit(self, x: Pointer, packed: Pointer, y: Pointer, bias: Pointer, winners: Pointer) -> None:
        b, spec, product = self.b, self.spec, self.product
        corner = spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1])
        down = self.pool[0] * product.window.left_row

        def panel(n: Any, j: Any, shape: Panel) -> None:
            column = j * product.width
            left, weights = x + (n * spec.x.image + corner), packed + j * product.panel_size

            def row(i: Any) -> None:
                product.emit_panel(shape, left + i * down, weights, self.buffer, 0, column, bias + column)
                target = y + (n * self.out.image + self.out.origin + i * self.out.row + column)
                self._pool(shape, target, winners + (n * self.bytes.image + i * self.bytes.row + column))

            b.loop(0, self.out.height, 1, row)

        b.loop(0, spec.x.batch, 1, lambda n: product.each_panel(lambda j, shape: panel(n, j, shape)))

    def _pool(self, panel: Panel, target: Pointer, winners: Pointer) -> None:
        """One row of windows out of the buffer."""
        b, product, (high, wide) = self.b, self.product, self.pool
        masks = panel.masks(b)

        def window(x: Any) -> None:
            for v, mask in enumerate(masks):
                at = self.buffer + x * (wide * product.width) + v * b.lanes
                values = [
                    at.load(r * product.window.out_row + s * product.width) for r in range(high) for s in range(wide)
                ]
                best, winner = largest_of_window(b, values, self.relu)
                target.store(best, x * self.out.pixel + v * b.lanes, mask)
                winners.store(winner, x * self.bytes.pixel + v * b.lanes, mask)

        b.loop(0, self.out.width, 1, window)


def largest_of_window(b: VectorBuilder, values: Sequence[Value], relu: bool) -> tuple[Value, Value]:
    """The largest, through the ReLU where there is one, and the byte that says which it was."""
    best = values[0]
    winner = b.iota() * 0
    for i, x in enumerate(values[1:], 1):
        beats = (x > best) | (x != x)
        best, winner = b.where(beats, x, best), b.where(beats, i, winner)
    if relu:
        winner = b.where(best > 0, winner, CLOSED)
        best = b.maximum(best, 0.0)
    return best, b.convert(winner, INT8)


def emit_unpool(
    module: ir.Module,
    name: str,
    spec: Convolution,
    pool: tuple[int, int],
    upstream: Images,
    dy: Images,
    target: Target | None = None,
) -> ir.Function:
    """Define ``void name(g, winners, dy, dbias)``: the gradient of the convolution's output, all of it, and of its
    bias.

    ``g`` is laid out by ``upstream``, dy by ``dy``, whose margin is not touched.
    """
    dtype = spec.dtype
    with function(module, name, [dtype, "uint8", dtype, dtype], target, dtype) as (b, g, winners, out, dbias):
        _Unpool(b, spec, pool, upstream, dy).emit(g, winners, out, dbias)
    return module.globals[name]


class _Unpool:
    """Vectors of channels outermost, so that their bias gradient stays in a register."""

    def __init__(
        self, b: VectorBuilder, spec: Convolution, pool: tuple[int, int], upstream: Images, dy: Images
    ) -> None:
        self.b, self.spec, self.pool, self.upstream, self.dy = b, spec, pool, upstream, dy
        self.bytes = winner_bytes(upstream)

    def emit(self, g: Pointer, winners: Pointer, out: Pointer, dbias: Pointer) -> None:
        b, up = self.b, self.upstream

        def channels(c: Any, mask: Value | None) -> None:
            def pixel(n: Any, y: Any, x: Any, total: Value) -> Value:
                place = n * up.image + up.origin + y * up.row + x * up.pixel + c
                value = g.load(place, mask=mask)
                byte = winners.load(n * self.bytes.image + y * self.bytes.row + x * self.bytes.pixel + c, mask=mask)
                winner = b.convert(byte, INT32)
                value = b.where(winner == CLOSED, 0.0, value)
                self._spread(value, winner, out + (n * self.dy.image + self.dy.origin + c), y, x, mask)
                return total + value

            self._clear_rest(out + (self.dy.origin + c), mask)
            dbias.store(over_images(b, (up.batch, up.height, up.width), pixel, b.number(0.0)), c, mask)

        b.sweep(self.spec.out_channels, channels)

    def _spread(self, value: Value, winner: Value, image: Pointer, y: Any, x: Any, mask: Value | None) -> None:
        """The gradient at the winner of a window, zeros beside it."""
        high, wide = self.pool
        corner = image + y * (high * self.dy.row) + x * (wide * self.dy.pixel)
        for i in range(high * wide):
            corner.store(self.b.where(winner == i, value, 0.0), self.dy.at(i // wide, i % wide), mask)

    def _clear_rest(self, image: Pointer, mask: Value | None) -> None:
        """Zeros where no window reaches: rows and columns that were left over."""
        b, (height, width), zero = self.b, self.spec.output, self.b.number(0.0)
        covered = self.upstream.height * self.pool[0], self.upstream.width * self.pool[1]

        def clear(rows: tuple[int, int], columns: tuple[int, int]) -> None:
            def pixel(n: Any, y: Any, x: Any) -> None:
                image.store(zero, n * self.dy.image + y * self.dy.row + x * self.dy.pixel, mask)

            b.loop(
                0, self.dy.batch, 1, lambda n: b.loop(*rows, 1, lambda y: b.loop(*columns, 1, lambda x: pixel(n, y, x)))
            )

        clear((covered[0], height), (0, width))
        clear((0, covered[0]), (covered[1], width))


def over_images(
    b: VectorBuilder, counts: tuple[int, int, int], body: Callable[[Any, Any, Any, Value], Value], start: Value
) -> Value:
    """Three nested loops that carry one value."""

    def rows(n: Any, y: Any, total: Value) -> list[Value]:
        return b.loop(0, counts[2], 1, lambda x, total: [body(n, y, x, total)], [total])

    def image(n: Any, total: Value) -> list[Value]:
        return b.loop(0, counts[1], 1, lambda y, total: rows(n, y, total), [total])

    return b.loop(0, counts[0], 1, image, [start])[0]


__all__ = [
    "CLOSED",
    "emit_pooled_convolution",
    "emit_unpool",
    "largest_of_window",
    "over_images",
    "pooled_images",
    "winner_bytes",
]
