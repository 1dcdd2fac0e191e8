"""Convolutions of arrays as the library has them, (batch, channel, row, column) without margins.

Image by image, so that all that lies between stays in the cache: the image is turned to channels innermost, convolved,
and the result turned back. Where neighbouring layers are convolutions too, :mod:`.convolution` on
:class:`~.images.Images` saves the turning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .backward_weights import WeightGradient, workspace_size_weights
from .convolution import (
    emit_backward_data,
    emit_convolution,
    emit_pack,
    emit_pack_back,
    packed_back_size,
    packed_size,
)
from .convolution_plan import Convolution
from .images import Images
from .layouts import emit_from_images, emit_to_images
from .target import Target, host_target
from .values import Pointer
from .vector import VectorBuilder, function

_LINE = 16  # pieces of the workspace begin at multiples of so many elements


@dataclass(frozen=True)
class DenseConvolution:
    """Shapes of ``y (N, O, *output) = x (N, C, height, width) ∗ w (O, C / groups, *kernel)``; settings are pairs."""

    batch: int
    channels: int
    height: int
    width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    dtype: str = "float32"

    @property
    def one(self) -> Convolution:
        """The convolution of one image. Raises ValueError where groups or sizes do not fit."""
        x = Images.of(1, self.height, self.width, self.channels, max(self.padding))
        settings = (self.kernel, self.stride, self.padding, self.dilation, self.groups, self.dtype)
        return Convolution(x, self.out_channels, *settings)

    @property
    def sizes(self) -> tuple[int, int]:
        """Elements of one image of x and of y."""
        height, width = self.one.output
        return self.channels * self.height * self.width, self.out_channels * height * width


def workspace_size(spec: DenseConvolution, target: Target | None = None) -> int:
    """Elements of scratch memory that any of the three functions needs."""
    one, target = spec.one, target or host_target()
    weights = max(packed_size(one, target), packed_back_size(one, target), workspace_size_weights(one, target))
    return _whole(weights) + _whole(one.x.size) + _whole(one.y().size)


def _whole(size: int) -> int:
    return -(-size // _LINE) * _LINE


class _Kernel:
    """What the three functions share: pieces of the workspace, and functions for one image that they call."""

    def __init__(self, module: ir.Module, name: str, spec: DenseConvolution, target: Target | None) -> None:
        self.module, self.name, self.spec, self.one = module, name, spec, spec.one
        self.target = target or host_target()
        self.y = self.one.y()

    def internal(self, emit: Any, *arguments: Any, **options: Any) -> ir.Function:
        """One of the emitters' functions, for this kernel alone."""
        name = f"{self.name}.{emit.__name__.removeprefix('emit_')}.{len(self.module.globals)}"
        made = emit(self.module, name, *arguments, target=self.target, **options)
        made.linkage = "internal"
        return made

    def pieces(self, b: VectorBuilder, workspace: Pointer) -> tuple[Pointer, Pointer, Pointer]:
        """Room for weights, for an image of x and for one of y, the latter two filled with zeros."""
        room_x, room_y = _whole(self.one.x.size), _whole(self.y.size)
        images = workspace + (workspace_size(self.spec, self.target) - room_x - room_y)
        zero = b.number(0.0)
        b.loop(0, room_x + room_y, b.lanes, lambda i: images.store(zero, i))
        return workspace, images, images + room_x

    def to_images(self, images: Images) -> ir.Function:
        return self.internal(emit_to_images, images, dtype=self.spec.dtype)

    def from_images(self, images: Images) -> ir.Function:
        return self.internal(emit_from_images, images, dtype=self.spec.dtype)


def _call(b: VectorBuilder, called: ir.Function, *pointers: Pointer) -> None:
    b.ir.call(called, [p.ir for p in pointers])


def emit_forward(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None, bias: bool = False
) -> ir.Function:
    """Define ``void name(x, weights, bias, y, workspace)``; the bias pointer is read only with ``bias``."""
    kernel = _Kernel(module, name, spec, target)
    pack = kernel.internal(emit_pack, kernel.one)
    take, give = kernel.to_images(kernel.one.x), kernel.from_images(kernel.y)
    convolve = kernel.internal(emit_convolution, kernel.one, kernel.y, bias=bias)
    size_x, size_y = spec.sizes
    with function(module, name, [spec.dtype] * 5, target, spec.dtype) as (b, x, weights, start, y, workspace):
        packed, x_image, y_image = kernel.pieces(b, workspace)
        _call(b, pack, weights, packed)

        def image(n: Any) -> None:
            _call(b, take, x + n * size_x, x_image)
            _call(b, convolve, x_image, packed, y_image, start)
            _call(b, give, y_image, y + n * size_y)

        b.loop(0, spec.batch, 1, image)
    return module.globals[name]


def emit_input_gradient(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None
) -> ir.Function:
    """Define ``void name(dy, weights, dx, workspace)``."""
    kernel = _Kernel(module, name, spec, target)
    pack = kernel.internal(emit_pack_back, kernel.one)
    take, give = kernel.to_images(kernel.y), kernel.from_images(kernel.one.x)
    convolve = kernel.internal(emit_backward_data, kernel.one, kernel.y, kernel.one.x)
    size_x, size_y = spec.sizes
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, dy, weights, dx, workspace):
        packed, x_image, y_image = kernel.pieces(b, workspace)
        _call(b, pack, weights, packed)

        def image(n: Any) -> None:
            _call(b, take, dy + n * size_y, y_image)
            _call(b, convolve, y_image, packed, x_image)
            _call(b, give, x_image, dx + n * size_x)

        b.loop(0, spec.batch, 1, image)
    return module.globals[name]


def emit_weight_gradient(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, dy, dw, workspace)``."""
    kernel = _Kernel(module, name, spec, target)
    take_x, take_y = kernel.to_images(kernel.one.x), kernel.to_images(kernel.y)
    size_x, size_y = spec.sizes
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, x, dy, dw, workspace):
        sums, x_image, y_image = kernel.pieces(b, workspace)
        gradient = WeightGradient(b, kernel.one, kernel.y)
        gradient.clear(sums)

        def image(n: Any) -> None:
            _call(b, take_x, x + n * size_x, x_image)
            _call(b, take_y, dy + n * size_y, y_image)
            gradient.add(x_image, y_image, sums)

        b.loop(0, spec.batch, 1, image)
        gradient.finish(sums, dw)
    return module.globals[name]


__all__ = [
    "DenseConvolution",
    "emit_forward",
    "emit_input_gradient",
    "emit_weight_gradient",
    "workspace_size",
]
