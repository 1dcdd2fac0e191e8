"""Convolutions over three dimensions, as ones over the last two.

What the taps along the first dimension see are channels beside each other: then each position along it is an image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.windows import Windows
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined, padded
from .shape import along

Params = dict[str, Any]
Flat = Callable[..., Value | None]
"""The lowering of the same map over two dimensions."""


def reach(windows: Windows) -> list[tuple[int, int]]:
    """What has to be put before and after the input to make up exactly what the windows cover."""
    sizes = zip(windows.padding, windows.span, windows.input, strict=True)
    return [(before, span - before - size) for before, span, size in sizes]


def convolution(b: Builder, flat: Flat, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The forward map, of images with the channels of all taps."""
    x, weight, *bias = inputs
    made = Value(_by_position(like.shape), like.dtype)
    images = flat(b, [_columns(b, x, params["windows"]), _flat_weight(b, weight), *bias], _flat(params), op, made)
    return None if images is None else _volumes(b, images, like.shape[0])


def input_gradient(b: Builder, flat: Flat, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the channels of all taps, added up where they look at the same."""
    g, weight = inputs
    windows = params["windows"]
    shape = (g.shape[0] * g.shape[2], like.shape[1] * windows.kernel[0], *like.shape[3:])
    columns = flat(b, [_images(b, g), _flat_weight(b, weight)], _flat(params), op, Value(shape, like.dtype))
    return None if columns is None else _folded(b, columns, windows, like)


def weight_gradient(b: Builder, flat: Flat, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The gradient to the weight."""
    x, g = inputs
    channels, depth, *kernel = like.shape[1:]
    made = Value((like.shape[0], channels * depth, *kernel), like.dtype)
    flat_weight = flat(b, [_columns(b, x, params["windows"]), _images(b, g)], _flat(params), op, made)
    return None if flat_weight is None else b.reshape(flat_weight, like.shape)


def _flat(params: Params) -> Params:
    """The settings along the last two dimensions."""
    return {**params, "windows": Windows(*[field[1:] for field in params["windows"]])}


def _flat_weight(b: Builder, weight: Value) -> Value:
    outputs, channels, depth, *kernel = weight.shape
    return b.reshape(weight, (outputs, channels * depth, *kernel))


def _by_position(shape: tuple[int, ...]) -> tuple[int, ...]:
    batch, channels, depth, *image = shape
    return (batch * depth, channels, *image)


def _images(b: Builder, x: Value) -> Value:
    """The positions along the first dimension in the batch."""
    return b.reshape(b.permute(x, (0, 2, 1, 3, 4)), _by_position(x.shape))


def _volumes(b: Builder, images: Value, batch: int) -> Value:
    """The other way."""
    apart = b.reshape(images, (batch, images.shape[0] // batch, *images.shape[1:]))
    return b.permute(apart, (0, 2, 1, 3, 4))


def _columns(b: Builder, x: Value, windows: Windows) -> Value:
    """Images (batch · positions, channels · taps, height, width): for each channel what each tap sees."""
    covered = padded(b, x, [(0, 0), (0, 0), reach(windows)[0], (0, 0), (0, 0)])
    step, apart, count = windows.stride[0], windows.dilation[0], windows.output[0]
    batch, channels, _, *image = x.shape
    seen = [along(b, covered, 2, tap * apart, step, count) for tap in range(windows.kernel[0])]
    taps = joined(b, [b.reshape(x, (batch, channels, 1, count, *image)) for x in seen], 2)
    return b.reshape(b.permute(taps, (0, 3, 1, 2, 4, 5)), (batch * count, channels * len(seen), *image))


def _folded(b: Builder, columns: Value, windows: Windows, like: Value) -> Value:
    """The transpose of :func:`_columns`."""
    step, apart, count, taps = windows.stride[0], windows.dilation[0], windows.output[0], windows.kernel[0]
    batch, channels, _, *image = like.shape
    by_tap = b.permute(b.reshape(columns, (batch, count, channels, taps, *image)), (0, 2, 3, 1, 4, 5))
    total: Value | None = None
    for tap in range(taps):
        part = b.reshape(along(b, by_tap, 2, tap, 1, 1), (batch, channels, count, 1, *image))
        spread = padded(b, part, [(0, 0)] * 3 + [(0, step - 1)] + [(0, 0)] * 2)
        spread = b.reshape(spread, (batch, channels, count * step, *image))
        behind = windows.span[0] - tap * apart - count * step
        placed = padded(b, spread, [(0, 0), (0, 0), (tap * apart, behind), (0, 0), (0, 0)])
        total = placed if total is None else b.elementwise("add", total, placed)
    assert total is not None
    before, behind = reach(windows)[0]
    return padded(b, total, [(0, 0), (0, 0), (-before, -behind), (0, 0), (0, 0)])
