"""Convolutions of arrays as the library has them, (batch, channel, row, column) without margins.

Image by image, so that all that lies between stays in the cache: the image is turned to channels innermost, convolved,
and the result turned back. Where neighbouring layers are convolutions too, :mod:`.convolution` on
:class:`~.images.Images` saves the turning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from . import winograd_convolution as winograd
from .backward_weights import WeightGradient, workspace_size_weights
from .composed import Composed, call, clear, places, total_size
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


@dataclass(frozen=True)
class DenseConvolution:
    """Shapes of ``y (N, O, *output) = x (N, C, height, width) ∗ w (O, C / groups, *kernel)``; settings are pairs.

    ``winograd`` allows 3×3 kernels to be done Winograd's way where that is quicker (see :mod:`.winograd`: a non-finite
    input then reaches up to four pixels beside those whose windows contain it).
    """

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
    winograd: bool = True

    @property
    def by_winograd(self) -> bool:
        """Whether Winograd's way is taken."""
        return self.winograd and winograd.pays(self.one)

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


def _pieces(spec: DenseConvolution, target: Target) -> dict[str, int]:
    """The workspace of all three functions; the images first, which begin as zeros."""
    one = spec.one
    pieces = {"x": one.x.size, "y": one.y().size, "packed": packed_size(one, target)}
    pieces["packed"] = max(pieces["packed"], packed_back_size(one, target), workspace_size_weights(one, target))
    if spec.by_winograd:
        sides = [winograd.transformed_size(one, back, target) for back in (False, True)]
        pieces |= {"transformed": max(sides), "blocks": winograd.workspace_size(one, target)}
    return pieces


def workspace_size(spec: DenseConvolution, target: Target | None = None) -> int:
    """Elements of scratch memory that any of the three functions needs."""
    return total_size(_pieces(spec, target or host_target()))


class _Kernel(Composed):
    """What the three functions share."""

    def __init__(self, module: ir.Module, name: str, spec: DenseConvolution, target: Target | None) -> None:
        super().__init__(module, name, spec.dtype, target)
        self.spec, self.one, self.y = spec, spec.one, spec.one.y()
        self.pieces = _pieces(spec, self.target)

    def begin(self, b: VectorBuilder, workspace: Pointer) -> dict[str, Pointer]:
        """The pieces of the workspace, the margins of its images cleared."""
        at = places(workspace, self.pieces)
        clear(b, at["x"], self.one.x.size)
        clear(b, at["y"], self.y.size)
        return at


def emit_forward(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None, bias: bool = False
) -> ir.Function:
    """Define ``void name(x, weights, bias, y, workspace)``; the bias pointer is read only with ``bias``."""
    kernel = _Kernel(module, name, spec, target)
    prepare = _weights(kernel, back=False)
    emit = winograd.emit_convolution if spec.by_winograd else emit_convolution
    convolve = kernel.internal(emit, kernel.one, kernel.y, bias=bias)
    with function(module, name, [spec.dtype] * 5, target, spec.dtype) as (b, x, weights, start, y, workspace):
        at = kernel.begin(b, workspace)
        ready, blocks = prepare(b, at, weights)
        _each_image(b, kernel, (x, kernel.one.x, at["x"]), (y, kernel.y, at["y"]), convolve, ready, start, *blocks)
    return module.globals[name]


def emit_input_gradient(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None
) -> ir.Function:
    """Define ``void name(dy, weights, dx, workspace)``."""
    kernel = _Kernel(module, name, spec, target)
    prepare = _weights(kernel, back=True)
    emit = winograd.emit_backward_data if spec.by_winograd else emit_backward_data
    convolve = kernel.internal(emit, kernel.one, kernel.y, kernel.one.x)
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, dy, weights, dx, workspace):
        at = kernel.begin(b, workspace)
        ready, blocks = prepare(b, at, weights)
        _each_image(b, kernel, (dy, kernel.y, at["y"]), (dx, kernel.one.x, at["x"]), convolve, ready, *blocks)
    return module.globals[name]


def _weights(kernel: _Kernel, back: bool) -> Any:
    """A function that makes the weights ready in the workspace: where they are, and what scratch goes with them."""
    pack = kernel.internal(emit_pack_back if back else emit_pack, kernel.one)
    if not kernel.spec.by_winograd:

        def packed(b: VectorBuilder, at: dict[str, Pointer], weights: Pointer) -> tuple[Pointer, list[Pointer]]:
            call(b, pack, weights, at["packed"])
            return at["packed"], []

        return packed
    transform = kernel.internal(winograd.emit_transform, kernel.one, back=back)

    def transformed(b: VectorBuilder, at: dict[str, Pointer], weights: Pointer) -> tuple[Pointer, list[Pointer]]:
        call(b, pack, weights, at["packed"])
        call(b, transform, at["packed"], at["transformed"])
        return at["transformed"], [at["blocks"]]

    return transformed


Side = tuple[Pointer, Images, Pointer]
"""An array, how one image of it lies when turned, and where."""


def _each_image(
    b: VectorBuilder, kernel: _Kernel, source: Side, result: Side, convolve: ir.Function, ready: Pointer, *more: Pointer
) -> None:
    """Turn, convolve, turn back."""
    (taken, taken_as, left), (given, given_as, right) = source, result
    take, give = kernel.turn(emit_to_images, taken_as), kernel.turn(emit_from_images, given_as)

    def image(n: Any) -> None:
        call(b, take, taken + n * _values(taken_as), left)
        call(b, convolve, left, ready, right, *more)
        call(b, give, right, given + n * _values(given_as))

    b.loop(0, kernel.spec.batch, 1, image)


def _values(images: Images) -> int:
    """Elements of one image without margins."""
    return images.channels * images.height * images.width


def emit_weight_gradient(
    module: ir.Module, name: str, spec: DenseConvolution, target: Target | None = None
) -> ir.Function:
    """Define ``void name(x, dy, dw, workspace)``."""
    kernel = _Kernel(module, name, spec, target)
    take_x, take_y = kernel.turn(emit_to_images, kernel.one.x), kernel.turn(emit_to_images, kernel.y)
    with function(module, name, [spec.dtype] * 4, target, spec.dtype) as (b, x, dy, dw, workspace):
        at = kernel.begin(b, workspace)
        gradient = WeightGradient(b, kernel.one, kernel.y)
        gradient.clear(at["packed"])

        def image(n: Any) -> None:
            call(b, take_x, x + n * _values(kernel.one.x), at["x"])
            call(b, take_y, dy + n * _values(kernel.y), at["y"])
            gradient.add(at["x"], at["y"], at["packed"])

        b.loop(0, spec.batch, 1, image)
        gradient.finish(at["packed"], dw)
    return module.globals[name]


__all__ = [
    "DenseConvolution",
    "emit_forward",
    "emit_input_gradient",
    "emit_weight_gradient",
    "workspace_size",
]
