"""Convolutions over two dimensions by direct kernels; each map's gradients are the other maps, so rules are traced."""

from __future__ import annotations

from typing import Any

from ...ops.convolution import ConvInputGradient, Convolution, ConvWeightGradient
from ..codegen.dense_convolution import DenseConvolution
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.convolution import Convolve, InputGradient, WeightGradient
from ..leaves.leaf import emit_leaf
from .table import lowering

Params = dict[str, Any]


def _spec(x: tuple[int, ...], weight: tuple[int, ...], params: Params, dtype: Any) -> DenseConvolution | None:
    windows = params["windows"]
    if len(windows.input) != 2 or 0 in (*x, *weight, *windows.output):
        return None
    height, width = windows.input
    settings = (windows.kernel, windows.stride, windows.padding, windows.dilation, params["groups"], dtype.name)
    spec = DenseConvolution(x[0], x[1], height, width, weight[0], *settings)
    return spec if spec.one.output == tuple(windows.output) else None  # padding may be more on one side


def _called(op: Any, params: Params) -> Any:
    return lambda *arrays: (op.forward(*arrays, **params),)


@lowering(Convolution, rules="traced")
def convolution(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The forward map with its bias."""
    x, weight, *bias = [v for v in inputs if v is not None]
    spec = _spec(x.shape, weight.shape, params, like.dtype)
    if spec is None:
        return None
    shapes = [(like.shape, like.dtype)]
    return emit_leaf(b, Convolve(spec, bool(bias)), [x, weight, *bias], shapes, _called(op, params))[0]


@lowering(ConvInputGradient, rules="traced")
def input_gradient(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the input."""
    g, weight = inputs
    spec = _spec(like.shape, weight.shape, params, like.dtype)
    if spec is None:
        return None
    return emit_leaf(b, InputGradient(spec), [g, weight], [(like.shape, like.dtype)], _called(op, params))[0]


@lowering(ConvWeightGradient, rules="traced")
def weight_gradient(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the weight."""
    x, g = inputs
    spec = _spec(x.shape, like.shape, params, like.dtype)
    if spec is None:
        return None
    return emit_leaf(b, WeightGradient(spec), [x, g], [(like.shape, like.dtype)], _called(op, params))[0]
