"""Convolutions by direct kernels over two dimensions; each map's gradients are the other maps, so rules are traced.

One dimension is two of which the first has one position. Where the padding is more on one side, or the input longer
than the windows reach, the kernel is given an input that is padded and cut to what they cover.
Three dimensions are in :mod:`.volumes`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...ops.convolution import ConvInputGradient, Convolution, ConvWeightGradient
from ...ops.windows import Windows, output_size
from ..codegen.dense_convolution import DenseConvolution
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.convolution import Convolve, InputGradient, WeightGradient
from ..leaves.leaf import emit_leaf
from . import volumes
from .joining import padded
from .table import lowering

Params = dict[str, Any]
Shape = tuple[int, ...]


class _Kernel(NamedTuple):
    """A kernel's settings, and what its input is padded with (negative: cut) in each dimension."""

    spec: DenseConvolution
    windows: Windows
    edges: list[tuple[int, int]]

    def covered(self, b: Builder, x: Value) -> Value:
        """The input as the kernel takes it."""
        return padded(b, _images(b, x), self.edges)

    def whole(self, b: Builder, covered: Value, like: Value) -> Value:
        """The other way, for the input's gradient."""
        return b.reshape(padded(b, covered, [(-before, -after) for before, after in self.edges]), like.shape)

    def meaning(self, op: Any) -> Any:
        """What the kernel computes, in NumPy."""
        params = {"windows": self.windows, "groups": self.spec.groups}
        return lambda *arrays: (op.forward(*arrays, **params),)


def _images(b: Builder, x: Value) -> Value:
    """An array of three dimensions as images of one row."""
    return b.reshape(x, _image_shape(x.shape))


def _image_shape(shape: Shape) -> Shape:
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape


def _image_windows(windows: Windows) -> Windows:
    if len(windows.input) == 2:
        return windows
    return Windows(*[(first, *field) for first, field in zip((1, 1, 0, 1, 1, 1), windows, strict=True)])


def _kernel(x: Shape, weight: Shape, params: Params, dtype: Any) -> _Kernel | None:
    if len(params["windows"].input) > 2 or 0 in (*x, *weight, *params["windows"].output):
        return None
    windows, edges = _image_windows(params["windows"]), [(0, 0)] * 4
    every = (windows.input, windows.kernel, windows.stride, windows.padding, windows.padding, windows.dilation)
    if windows.output != tuple(output_size(*of_one) for of_one in zip(*every, strict=True)):
        edges = [(0, 0), (0, 0), *volumes.reach(windows)]
        windows = windows._replace(padding=(0, 0), input=windows.span)
    (height, width), settings = windows.input, (windows.kernel, windows.stride, windows.padding, windows.dilation)
    sizes: Any = (x[0], x[1], height, width, weight[0], *settings, params["groups"], dtype.name)
    return _Kernel(DenseConvolution(*sizes), windows, edges)


@lowering(Convolution, rules="traced")
def convolution(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The forward map with its bias."""
    x, weight, *bias = [v for v in inputs if v is not None]
    if x.ndim == 5:
        return volumes.convolution(b, convolution, inputs, params, op, like)
    kernel = _kernel(x.shape, weight.shape, params, like.dtype)
    if kernel is None:
        return None
    operands = [kernel.covered(b, x), _images(b, weight), *bias]
    made = [(_image_shape(like.shape), like.dtype)]
    leaf = Convolve(kernel.spec, bool(bias))
    return b.reshape(emit_leaf(b, leaf, operands, made, kernel.meaning(op))[0], like.shape)


@lowering(ConvInputGradient, rules="traced")
def input_gradient(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the input."""
    g, weight = inputs
    if g.ndim == 5:
        return volumes.input_gradient(b, input_gradient, inputs, params, op, like)
    kernel = _kernel(like.shape, weight.shape, params, like.dtype)
    if kernel is None:
        return None
    made = [((*like.shape[:2], *kernel.windows.input), like.dtype)]
    operands = [_images(b, g), _images(b, weight)]
    return kernel.whole(b, emit_leaf(b, InputGradient(kernel.spec), operands, made, kernel.meaning(op))[0], like)


@lowering(ConvWeightGradient, rules="traced")
def weight_gradient(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the weight."""
    x, g = inputs
    if x.ndim == 5:
        return volumes.weight_gradient(b, weight_gradient, inputs, params, op, like)
    kernel = _kernel(x.shape, like.shape, params, like.dtype)
    if kernel is None:
        return None
    operands, made = [kernel.covered(b, x), _images(b, g)], [(_image_shape(like.shape), like.dtype)]
    leaf = WeightGradient(kernel.spec)
    return b.reshape(emit_leaf(b, leaf, operands, made, kernel.meaning(op))[0], like.shape)
