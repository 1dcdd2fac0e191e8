"""Winograd's 3×3 convolution as kernels: forwards, forwards with ReLU and pooling, and the gradient to the input.

Weights go through :func:`~.convolution.emit_pack` (or ``emit_pack_back``) and then :func:`emit_transform`, once a step.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .convolution_plan import Convolution
from .images import Images
from .pooled_convolution import largest_of_window, winner_bytes
from .target import Target, host_target
from .values import Pointer, Value
from .vector import VectorBuilder, function
from .winograd import Blocks, Winograd, pays, store_block, supports, transform_weights, weights_size


def transformed_size(spec: Convolution, back: bool = False, target: Target | None = None) -> int:
    """Elements of the transformed weights, for the forward pass or (``back``) for the gradient to the input."""
    channels, columns = _channels(spec, back)
    return weights_size(channels, columns, target, spec.dtype)


def _channels(spec: Convolution, back: bool) -> tuple[int, int]:
    _require(spec)
    return (spec.out_channels, spec.x.channels) if back else (spec.x.channels, spec.out_channels)


def _require(spec: Convolution) -> None:
    if not supports(spec):
        settings = f"kernel {spec.kernel}, stride {spec.stride}, padding {spec.padding}, dilation {spec.dilation}"
        done = "3×3 kernels without stride, dilation and groups, padded by at most 2"
        raise ValueError(f"winograd: {settings}, {spec.groups} groups; it does {done}")


def emit_transform(
    module: ir.Module, name: str, spec: Convolution, target: Target | None = None, back: bool = False
) -> ir.Function:
    """Define ``void name(packed, transformed)``."""
    channels, columns = _channels(spec, back)
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, packed, out):
        transform_weights(b, packed, out, channels, columns)
    return module.globals[name]


def _forward_blocks(spec: Convolution, height: int, width: int) -> Blocks:
    room = spec.x.height + 2 * spec.padding[0], spec.x.width + 2 * spec.padding[1]
    return Blocks(height, width, spec.x.row, spec.x.pixel, room)


def _backward_blocks(spec: Convolution, dy: Images) -> Blocks:
    margins = [2 - p for p in spec.padding]
    room = dy.height + 2 * margins[0], dy.width + 2 * margins[1]
    return Blocks(spec.x.height, spec.x.width, dy.row, dy.pixel, room)


def workspace_size(spec: Convolution, target: Target | None = None) -> int:
    """Elements of scratch memory of any of the functions here."""
    _require(spec)
    target = target or host_target()
    b = VectorBuilder(ir.IRBuilder(), target, spec.dtype)
    sides = [
        Winograd(b, _forward_blocks(spec, *spec.output), *_channels(spec, False), _nothing),
        Winograd(b, _backward_blocks(spec, spec.y()), *_channels(spec, True), _nothing),
    ]
    return max(side.workspace for side in sides)


def _nothing(*_: Any) -> None:
    """The end of a convolution that is only measured."""


def emit_convolution(
    module: ir.Module, name: str, spec: Convolution, y: Images, target: Target | None = None, bias: bool = False
) -> ir.Function:
    """Define ``void name(x, transformed, y, bias, workspace)``, otherwise like the direct one.

    Raises ValueError unless the kernel is 3×3 without stride, dilation and groups.
    """
    channels, columns = _channels(spec, False)
    blocks = _forward_blocks(spec, *spec.output)
    with function(module, name, [spec.dtype] * 5, target, spec.dtype) as (b, x, weights, out, start, workspace):

        def finish(
            b: VectorBuilder, square: Any, r: Value, c: Value, o: Value, mask: Any, out: Any, start: Any
        ) -> None:
            if bias:
                more = start.load(o, mask=mask)
                square = [[value + more for value in row] for row in square]
            store_block(b, blocks, square, r, c, lambda i, j: out + (i * y.row + j * y.pixel + o), mask)

        product = Winograd(b, blocks, channels, columns, finish)
        corner = spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1])

        def image(n: Any) -> None:
            places = [out + (n * y.image + y.origin), start]
            product.emit(x + (n * spec.x.image + corner), weights, workspace, places)

        b.loop(0, spec.x.batch, 1, image)
    return module.globals[name]


def emit_pooled_convolution(
    module: ir.Module, name: str, spec: Convolution, out: Images, target: Target | None = None, relu: bool = True
) -> ir.Function:
    """Define ``void name(x, transformed, out, bias, winners, workspace)``: with 2×2 max pooling, block by block."""
    channels, columns = _channels(spec, False)
    blocks = _forward_blocks(spec, out.height * 2, out.width * 2)
    bytes_of = winner_bytes(out)
    pointers = [spec.dtype] * 4 + ["uint8", spec.dtype]
    with function(module, name, pointers, target, spec.dtype) as (b, x, weights, pooled, start, winners, workspace):

        def finish(
            b: VectorBuilder, square: Any, r: Value, c: Value, o: Value, mask: Any, y: Any, won: Any, start: Any
        ) -> None:
            more = start.load(o, mask=mask)
            best, winner = largest_of_window(b, [value + more for row in square for value in row], relu)
            y.store(best, r * out.row + c * out.pixel + o, mask)
            won.store(winner, r * bytes_of.row + c * bytes_of.pixel + o, mask)

        product = Winograd(b, blocks, channels, columns, finish)
        corner = spec.x.origin + spec.x.at(-spec.padding[0], -spec.padding[1])

        def image(n: Any) -> None:
            places = [pooled + (n * out.image + out.origin), winners + n * bytes_of.image, start]
            product.emit(x + (n * spec.x.image + corner), weights, workspace, places)

        b.loop(0, spec.x.batch, 1, image)
    return module.globals[name]


def emit_backward_data(
    module: ir.Module, name: str, spec: Convolution, dy: Images, dx: Images, target: Target | None = None
) -> ir.Function:
    """Define ``void name(dy, transformed, dx, workspace)``, weights transformed with ``back``."""
    channels, columns = _channels(spec, True)
    if dy.margin < spec.gradient_margin:
        raise ValueError(f"winograd: dy has a margin of {dy.margin}; it needs {spec.gradient_margin} pixels")
    blocks = _backward_blocks(spec, dy)
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, g, weights, out, workspace):

        def finish(b: VectorBuilder, square: Any, r: Value, c: Value, o: Value, mask: Any, out: Pointer) -> None:
            store_block(b, blocks, square, r, c, lambda i, j: out + (i * dx.row + j * dx.pixel + o), mask)

        product = Winograd(b, blocks, channels, columns, finish)
        corner = dy.origin + dy.at(spec.padding[0] - 2, spec.padding[1] - 2)

        def image(n: Any) -> None:
            product.emit(g + (n * dy.image + corner), weights, workspace, [out + (n * dx.image + dx.origin)])

        b.loop(0, spec.x.batch, 1, image)
    return module.globals[name]


__all__ = [
    "emit_backward_data",
    "emit_convolution",
    "emit_pooled_convolution",
    "emit_transform",
    "pays",
    "supports",
    "transformed_size",
    "workspace_size",
]
