"""The gradients of a convolution behind ReLU and max pooling, over the routed entries only.

The max gate hands each window's gradient to one pixel, so at least three in four of the upstream gradients of a
convolution behind 2×2 pooling are zero. Each entry that is left is a number, a pixel and an output channel: it adds its
weights to a patch of dX, and its patch of x to their gradient. For one output channel the patch of taps (weights, or
sums) stays in registers while all its entries pass.

Where an entry is zero nothing is multiplied, so that an infinity in x does not become NaN there.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from .convolution_plan import Convolution
from .images import Images
from .pooled_convolution import CLOSED, over_images, winner_bytes
from .subroutines import Subroutines
from .target import Target, host_target
from .values import INT32, INT64, Pointer, Value
from .vector import VectorBuilder, function


def supports(spec: Convolution, target: Target | None = None) -> bool:
    """Whether this is done at all: one group, channels that fill half a vector, and a patch that fits the registers."""
    target = target or host_target()
    fills = spec.x.channels * 2 >= target.lanes(spec.dtype)
    return spec.groups == 1 and fills and math.prod(spec.kernel) <= target.registers - 4


def padded_channels(spec: Convolution, target: Target | None = None) -> int:
    """Input channels in whole vectors."""
    lanes = (target or host_target()).lanes(spec.dtype)
    return -(-spec.x.channels // lanes) * lanes


def patch_size(spec: Convolution, target: Target | None = None) -> int:
    """Elements of the weights or their sums: output channels × taps × input channels in whole vectors."""
    return spec.out_channels * math.prod(spec.kernel) * padded_channels(spec, target)


def emit_routes(
    module: ir.Module,
    name: str,
    spec: Convolution,
    pool: tuple[int, int],
    upstream: Images,
    target: Target | None = None,
) -> ir.Function:
    """Define ``void name(g, winners, entries, places, dbias)``: what is routed where.

    For each window and channel, densely: the gradient that passes (``entries``), and the distance of its patch in x
    from the patch of the first pixel (``places``, int32). ``winners`` are
    :func:`~.pooled_convolution.emit_pooled_convolution`'s.
    """
    bytes_of = winner_bytes(upstream)
    pointers = [spec.dtype, "uint8", spec.dtype, "int32", spec.dtype]
    with function(module, name, pointers, target, spec.dtype) as (b, g, winners, entries, places, dbias):

        def channels(c: Any, mask: Value | None) -> None:
            def window(n: Any, y: Any, x: Any, total: Value) -> Value:
                here = n * bytes_of.image + y * bytes_of.row + x * bytes_of.pixel + c
                winner = b.convert(winners.load(here, mask=mask), INT32)
                value = g.load(
                    n * upstream.image + upstream.origin + y * upstream.row + x * upstream.pixel + c, mask=mask
                )
                value = b.where(winner == CLOSED, 0.0, value)
                entries.store(value, here, mask)
                places.store(_places(b, spec, pool, y, x, winner), here, mask)
                return total + value

            counts = (upstream.batch, upstream.height, upstream.width)
            dbias.store(over_images(b, counts, window, b.number(0.0)), c, mask)

        b.sweep(spec.out_channels, channels)
    return module.globals[name]


def _places(b: VectorBuilder, spec: Convolution, pool: tuple[int, int], y: Any, x: Any, winner: Value) -> Value:
    """Where the winners' patches begin; that of the window's first pixel where the gate is closed."""
    down, across = spec.stride[0] * spec.x.row, spec.stride[1] * spec.x.pixel
    corner = b.index(y) * (pool[0] * down) + b.index(x) * (pool[1] * across)
    inside = winner.like(0)
    for i in range(1, pool[0] * pool[1]):
        inside = b.where(winner == i, i // pool[1] * down + i % pool[1] * across, inside)
    return inside + b.splat(b.convert(corner, INT32))


def emit_pack_patches(module: ir.Module, name: str, spec: Convolution, target: Target | None = None) -> ir.Function:
    """Define ``void name(weights, patches)`` for :func:`emit_routed_data`, ``patch_size`` elements."""
    taps, channels = math.prod(spec.kernel), spec.x.channels
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, weights, patches):
        wide = padded_channels(spec, b.target)

        def patch(o: Any, t: Any) -> None:
            source, out = weights + o * (channels * taps) + t, patches + (o * taps + t) * wide
            b.loop(0, channels, 1, lambda c: out.store(source.load(c * taps, 0), c))
            b.loop(channels, wide, 1, lambda c: out.store(b.number(0.0, 0), c))

        b.loop(0, spec.out_channels, 1, lambda o: b.loop(0, taps, 1, lambda t: patch(o, t)))
    return module.globals[name]


def emit_routed_data(
    module: ir.Module, name: str, spec: Convolution, windows: int, dx: Images, target: Target | None = None
) -> ir.Function:
    """Define ``void name(entries, places, patches, dx)``: the gradient to x; ``windows`` is how many an image has.

    dx lies like x, with x's strides and margin. Its margin receives what reaches beyond the image.
    """
    _same_places(spec, dx)
    with function(module, name, [spec.dtype, "int32", spec.dtype, spec.dtype], target, spec.dtype) as (b, *pointers):
        entries, places, patches, out = pointers
        routed = Routed(b, spec, windows)
        zero = b.number(0.0)

        def image(n: Any) -> None:
            begin = out + n * dx.image
            b.sweep(dx.image, lambda i, mask: begin.store(zero, i, mask), unroll=4)
            routed.each_channel(n, entries, places, patches, begin, routed.spread)

        b.loop(0, spec.x.batch, 1, image)
    return module.globals[name]


def _same_places(spec: Convolution, dx: Images) -> None:
    if dx != spec.x:
        raise ValueError(f"emit_routed_data: dx is laid out as {dx}, but patches are placed as in x, {spec.x}")


def emit_routed_weights(
    module: ir.Module, name: str, spec: Convolution, windows: int, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, entries, places, dw, sums)``; sums are ``patch_size`` elements of scratch memory."""
    pointers = [spec.dtype, spec.dtype, "int32", spec.dtype, spec.dtype]
    with function(module, name, pointers, target, spec.dtype) as (b, x, entries, places, dw, sums):
        routed = Routed(b, spec, windows)
        zero, size = b.number(0.0), patch_size(spec, b.target)
        b.loop(0, size, b.lanes, lambda i: sums.store(zero, i))

        def image(n: Any) -> None:
            routed.each_channel(n, entries, places, sums, x + n * spec.x.image, routed.gather)

        b.loop(0, spec.x.batch, 1, image)
        routed.unpack(sums, dw)
    return module.globals[name]


class Routed:
    """Loops over output channels and blocks of input channels, with the taps of one block in registers."""

    def __init__(self, b: VectorBuilder, spec: Convolution, windows: int) -> None:
        self.b, self.spec, self.windows = b, spec, windows
        high, wide = spec.kernel
        down, across = spec.dilation[0] * spec.x.row, spec.dilation[1] * spec.x.pixel
        self.taps = [r * down + s * across for r in range(high) for s in range(wide)]
        self.channels = padded_channels(spec, b.target)
        self.tiles = Subroutines(b)
        self.vectors = max((b.target.registers - 4) // len(self.taps), 1)

    def each_channel(
        self, n: Any, entries: Pointer, places: Pointer, patches: Pointer, image: Pointer, body: Any
    ) -> None:
        """``body`` for each output channel and each block of input channels of image n."""
        b, spec = self.b, self.spec
        corner = image + (spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1]))
        begin = n * (self.windows * spec.out_channels)

        def channel(o: Any) -> None:
            for first in range(0, self.channels, self.vectors * b.lanes):
                masks = self._masks(first)
                patch = patches + o * (len(self.taps) * self.channels) + first
                self.tiles.call(
                    (body.__name__, first),
                    [entries + (begin + o), places + (begin + o), patch, corner + first],
                    lambda b, *pointers, masks=masks: body(b, masks, *pointers),
                )

        b.loop(0, spec.out_channels, 1, channel)

    def _masks(self, first: int) -> list[int]:
        """How many channels each vector of a block has."""
        stop = min(first + self.vectors * self.b.lanes, self.channels)
        return [min(self.spec.x.channels - c, self.b.lanes) for c in range(first, stop, self.b.lanes)]

    def _cells(self, b: VectorBuilder, counts: list[int]) -> list[tuple[int, int, Value | None]]:
        """Each register of the patch: its place among patches, its distance in the image, its mask."""
        masks = [b.first(count) if count < b.lanes else None for count in counts]
        return [
            (t * self.channels + v * b.lanes, tap + v * b.lanes, mask)
            for t, tap in enumerate(self.taps)
            for v, mask in enumerate(masks)
        ]

    def spread(
        self, b: VectorBuilder, counts: list[int], entries: Pointer, places: Pointer, patch: Pointer, image: Pointer
    ) -> None:
        """Add each entry times the patch to the image."""
        cells, step = self._cells(b, counts), self.spec.out_channels
        weights = [patch.load(place) for place, _, _ in cells]

        def entry(p: Any) -> None:
            g = entries.splat(p * step)
            here = image + b.convert(places.load(p * step, 0), INT64)
            sums = [b.muladd(g, w, here.load(at, mask=mask)) for w, (_, at, mask) in zip(weights, cells, strict=True)]
            for total, (_, at, mask) in zip(sums, cells, strict=True):
                here.store(total, at, mask)

        b.loop(0, self.windows, 1, entry)

    def gather(
        self, b: VectorBuilder, counts: list[int], entries: Pointer, places: Pointer, patch: Pointer, image: Pointer
    ) -> None:
        """Add each entry times its part of the image to the patch."""
        cells, step = self._cells(b, counts), self.spec.out_channels

        def entry(p: Any, *sums: Value) -> list[Value]:
            g = entries.splat(p * step)
            here = image + b.convert(places.load(p * step, 0), INT64)
            return [
                b.muladd(g, here.load(at, mask=mask), total) for total, (_, at, mask) in zip(sums, cells, strict=True)
            ]

        sums = b.loop(0, self.windows, 1, entry, [patch.load(place) for place, _, _ in cells])
        for total, (place, _, _) in zip(sums, cells, strict=True):
            patch.store(total, place)

    def unpack(self, sums: Pointer, dw: Pointer) -> None:
        """From patches to the library's order."""
        b, taps, channels = self.b, len(self.taps), self.spec.x.channels

        def patch(o: Any, t: Any) -> None:
            source, out = sums + (o * taps + t) * self.channels, dw + o * (channels * taps) + t
            b.loop(0, channels, 1, lambda c: out.store(source.load(c, 0), c * taps))

        b.loop(0, self.spec.out_channels, 1, lambda o: b.loop(0, taps, 1, lambda t: patch(o, t)))


__all__ = [
    "Routed",
    "emit_pack_patches",
    "emit_routed_data",
    "emit_routed_weights",
    "emit_routes",
    "padded_channels",
    "patch_size",
    "supports",
]
