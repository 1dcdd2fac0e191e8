"""Convolution, ReLU and max pooling of arrays as the library has them, and all gradients, image by image.

Forwards each image is turned to channels innermost, convolved and pooled in one pass (by Winograd's way where that
pays), and turned back. Backwards only what the max gate routes is multiplied, where the channels are enough to fill
vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from . import convolution, routed_convolution, winograd_convolution
from .backward_weights import WeightGradient, workspace_size_weights
from .composed import Composed, call, clear, places, total_size
from .convolution_plan import Convolution
from .dense_convolution import DenseConvolution
from .images import Images
from .layouts import emit_from_images, emit_to_images
from .pooled_convolution import emit_pooled_convolution, emit_unpool, pooled_images, winner_bytes
from .routed_convolution import Routed, emit_pack_patches, emit_routed_data, emit_routes
from .target import Target, host_target
from .values import INT32, Pointer
from .vector import VectorBuilder, function


@dataclass(frozen=True)
class PooledConvolution:
    """A convolution of one group, the ReLU (unless ``relu`` is off) and max pooling by ``pool`` side by side."""

    convolution: DenseConvolution
    pool: tuple[int, int] = (2, 2)
    relu: bool = True

    @property
    def one(self) -> Convolution:
        """The convolution of one image."""
        return self.convolution.one

    @property
    def pooled(self) -> Images:
        """One pooled image."""
        return pooled_images(self.one, self.pool)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the output."""
        return self.convolution.batch, self.one.out_channels, self.pooled.height, self.pooled.width

    @property
    def winners(self) -> int:
        """Bytes to keep for the backward pass."""
        return self.convolution.batch * winner_bytes(self.pooled).image


class _Kernel(Composed):
    """What both functions share."""

    def __init__(self, module: ir.Module, name: str, spec: PooledConvolution, target: Target | None) -> None:
        super().__init__(module, name, spec.one.dtype, target)
        self.spec, self.one, self.pooled, self.y = spec, spec.one, spec.pooled, spec.one.y()
        self.pieces = _pieces(spec, self.target)
        self.size_x = spec.convolution.sizes[0]
        self.size_y = math.prod(spec.shape[1:])
        self.bytes = winner_bytes(self.pooled).image


def _pieces(spec: PooledConvolution, target: Target) -> dict[str, int]:
    """Elements of each piece of the workspace; forwards and backwards share it."""
    one = spec.one
    packed = max(convolution.packed_size(one, target), convolution.packed_back_size(one, target))
    pieces = {"x": one.x.size, "pooled": spec.pooled.size, "packed": packed, "dbias": one.out_channels}
    if _by_winograd(spec):
        pieces["transformed"] = winograd_convolution.transformed_size(one, target=target)
        pieces["blocks"] = winograd_convolution.workspace_size(one, target)
    pieces["dx"] = one.x.size
    if routed_convolution.supports(one, target):
        pieces["entries"] = pieces["places"] = winner_bytes(spec.pooled).size
        pieces["patches"] = pieces["sums"] = routed_convolution.patch_size(one, target)
    else:
        pieces["dy"], pieces["sums"] = one.y().size, workspace_size_weights(one, target)
    return pieces


def _by_winograd(spec: PooledConvolution) -> bool:
    return spec.convolution.by_winograd and spec.pool == (2, 2)


def workspace_size(spec: PooledConvolution, target: Target | None = None) -> int:
    """Elements of scratch memory that either function needs."""
    return total_size(_pieces(spec, target or host_target()))


def emit_forward(module: ir.Module, name: str, spec: PooledConvolution, target: Target | None = None) -> ir.Function:
    """Define ``void name(x, weights, bias, y, winners, workspace)``; ``winners`` are ``spec.winners`` bytes."""
    kernel, one = _Kernel(module, name, spec, target), spec.one
    pack, take = kernel.internal(convolution.emit_pack, one), kernel.turn(emit_to_images, one.x)
    give, winograd = kernel.turn(emit_from_images, kernel.pooled), _by_winograd(spec)
    if winograd:
        transform = kernel.internal(winograd_convolution.emit_transform, one)
        convolve = kernel.internal(winograd_convolution.emit_pooled_convolution, one, kernel.pooled, relu=spec.relu)
    else:
        convolve = kernel.internal(emit_pooled_convolution, one, spec.pool, kernel.pooled, relu=spec.relu)
    pointers = [one.dtype] * 4 + ["uint8", one.dtype]
    with function(module, name, pointers, target, one.dtype) as (b, x, weights, bias, y, winners, workspace):
        at = places(workspace, kernel.pieces)
        clear(b, at["x"], one.x.size)
        call(b, pack, weights, at["packed"])
        if winograd:
            call(b, transform, at["packed"], at["transformed"])
        ready, more = ("transformed", [at["blocks"]]) if winograd else ("packed", [])

        def image(n: Any) -> None:
            call(b, take, x + n * kernel.size_x, at["x"])
            call(b, convolve, at["x"], at[ready], at["pooled"], bias, winners + n * kernel.bytes, *more)
            call(b, give, at["pooled"], y + n * kernel.size_y)

        b.loop(0, spec.convolution.batch, 1, image)
    return module.globals[name]


def emit_backward(
    module: ir.Module, name: str, spec: PooledConvolution, target: Target | None = None, needs_dx: bool = True
) -> ir.Function:
    """Define ``void name(x, weights, g, winners, dx, dw, dbias, workspace)``; dx is written only with ``needs_dx``."""
    kernel = _Kernel(module, name, spec, target)
    way = (_Routes if routed_convolution.supports(spec.one, kernel.target) else _Dense)(kernel, needs_dx)
    one = spec.one
    pointers = [one.dtype] * 3 + ["uint8"] + [one.dtype] * 4
    with function(module, name, pointers, target, one.dtype) as (b, x, weights, g, winners, dx, dw, dbias, workspace):
        at = places(workspace, kernel.pieces)
        way.begin(b, at, weights)
        for place, size in ((at["x"], one.x.size), (dbias, one.out_channels)):
            clear(b, place, size)

        def image(n: Any) -> None:
            call(b, way.take_x, x + n * kernel.size_x, at["x"])
            call(b, way.take_g, g + n * kernel.size_y, at["pooled"])
            way.image(at, winners + n * kernel.bytes)
            b.sweep(one.out_channels, lambda i, mask: _add(dbias, at["dbias"], i, mask))
            if needs_dx:
                call(b, way.give_x, at["dx"], dx + n * kernel.size_x)

        b.loop(0, spec.convolution.batch, 1, image)
        way.finish(at, dw)
    return module.globals[name]


def _add(total: Pointer, part: Pointer, i: Any, mask: Any) -> None:
    total.store(total.load(i, mask=mask) + part.load(i, mask=mask), i, mask)


class _Way:
    """How one image goes backwards; the functions that both ways call."""

    def __init__(self, kernel: _Kernel, needs_dx: bool) -> None:
        self.kernel, self.one, self.needs_dx = kernel, kernel.one, needs_dx
        self.take_x = kernel.turn(emit_to_images, self.one.x)
        self.take_g = kernel.turn(emit_to_images, kernel.pooled)
        self.give_x = kernel.turn(emit_from_images, self.one.x) if needs_dx else None


class _Routes(_Way):
    """Over the routed entries."""

    def __init__(self, kernel: _Kernel, needs_dx: bool) -> None:
        super().__init__(kernel, needs_dx)
        windows = kernel.pooled.height * kernel.pooled.width
        self.windows = windows
        self.routes = kernel.internal(emit_routes, self.one, kernel.spec.pool, kernel.pooled)
        self.pack = kernel.internal(emit_pack_patches, self.one)
        self.spread = kernel.internal(emit_routed_data, self.one, windows, self.one.x) if needs_dx else None

    def begin(self, b: VectorBuilder, at: dict[str, Pointer], weights: Pointer) -> None:
        self.b, self.routed = b, Routed(b, self.one, self.windows)
        clear(b, at["sums"], self.kernel.pieces["sums"])
        if self.needs_dx:
            call(b, self.pack, weights, at["patches"])

    def image(self, at: dict[str, Pointer], winners: Pointer) -> None:
        places = self.b.pointer(at["places"].ir, INT32)
        call(self.b, self.routes, at["pooled"], winners, at["entries"], places, at["dbias"])
        self.routed.each_channel(0, at["entries"], places, at["sums"], at["x"], self.routed.gather)
        if self.spread is not None:
            call(self.b, self.spread, at["entries"], places, at["patches"], at["dx"])

    def finish(self, at: dict[str, Pointer], dw: Pointer) -> None:
        self.routed.unpack(at["sums"], dw)


class _Dense(_Way):
    """Over all pixels: for first layers, whose few channels do not fill a vector."""

    def __init__(self, kernel: _Kernel, needs_dx: bool) -> None:
        super().__init__(kernel, needs_dx)
        self.unpool = kernel.internal(emit_unpool, self.one, kernel.spec.pool, kernel.pooled, kernel.y)
        if needs_dx:
            self.pack = kernel.internal(convolution.emit_pack_back, self.one)
            self.back = kernel.internal(convolution.emit_backward_data, self.one, kernel.y, self.one.x)

    def begin(self, b: VectorBuilder, at: dict[str, Pointer], weights: Pointer) -> None:
        self.b, self.gradient = b, WeightGradient(b, self.one, self.kernel.y)
        self.gradient.clear(at["sums"])
        clear(b, at["dy"], self.kernel.y.size)
        if self.needs_dx:
            call(b, self.pack, weights, at["packed"])

    def image(self, at: dict[str, Pointer], winners: Pointer) -> None:
        call(self.b, self.unpool, at["pooled"], winners, at["dy"], at["dbias"])
        self.gradient.add(at["x"], at["dy"], at["sums"])
        if self.needs_dx:
            call(self.b, self.back, at["dy"], at["packed"], at["dx"])

    def finish(self, at: dict[str, Pointer], dw: Pointer) -> None:
        self.gradient.finish(at["sums"], dw)


__all__ = ["PooledConvolution", "emit_backward", "emit_forward", "workspace_size"]
