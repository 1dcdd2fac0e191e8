"""Average pooling, forwards and backwards. Max pooling is left to :mod:`..passes.max_pooling`, after convolutions."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from ...ops.average_pooling import AvgPool, AvgSpread, pieces
from ...ops.windows import Windows
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined, padded
from .shape import along
from .table import lowering

Params = dict[str, Any]


def _beside(windows: Any) -> bool:
    """Windows side by side that begin at the first element."""
    return isinstance(windows, Windows) and windows.kernel == windows.stride and not any(windows.padding)


def _whole(windows: Any) -> bool:
    """Whether none of them hangs over the end."""
    return all(o * k <= n for o, k, n in zip(windows.output, windows.kernel, windows.input, strict=True))


def _part(b: Builder, x: Value, axis: int, part: slice) -> Value:
    """A slice of one dimension."""
    start, stop, step = part.indices(x.shape[axis])
    return along(b, x, axis, start, step, len(range(start, stop, step)))


@lowering(AvgPool, rules="traced")
def average(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The mean of each window."""
    (x,), (windows, divisor) = inputs, params.values()
    if not x.size or not like.size:
        return None
    dims = len(windows.output)
    lead = x.shape[: x.ndim - dims]
    if _beside(windows) and _whole(windows):
        apart: tuple[int, ...] = ()
        for i, (o, k) in enumerate(zip(windows.output, windows.kernel, strict=True)):
            x = _part(b, x, len(lead) + i, slice(0, o * k))
            apart += (o, k)
        axes = tuple(range(len(lead) + 1, len(lead) + 2 * dims, 2))
        total = b.reduce("sum", b.reshape(x, (*lead, *apart)), axes)
    else:
        for i in reversed(range(dims)):
            x = _sums(b, x, len(lead) + i, pieces(windows, i), windows.output[i])
        total = x
    return b.elementwise("div", total, _number(b, divisor, like.dtype))


def _sums(b: Builder, x: Value, axis: int, parts: Any, size: int) -> Value:
    """Sums over windows along one axis: of whole windows, or of what each tap sees."""
    if len(parts) == size and all(seeing == slice(i, i + 1) for i, (_, seeing) in enumerate(parts)):
        return joined(b, [b.reduce("sum", _part(b, x, axis, seen), axis, True) for seen, _ in parts], axis)
    total: Value | None = None
    for seen, seeing in parts:
        start, stop, _ = seeing.indices(size)
        edges = [(start, size - stop) if d == axis else (0, 0) for d in range(x.ndim)]
        part = padded(b, _part(b, x, axis, seen), edges)
        total = part if total is None else b.elementwise("add", total, part)
    assert total is not None
    return total


@lowering(AvgSpread, rules="traced")
def spread(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Gradients shared out over the windows, one dimension at a time."""
    (g,), (windows, divisor) = inputs, params.values()
    if not g.size:
        return None
    dims = len(windows.output)
    g = b.elementwise("div", g, _number(b, divisor, g.dtype))
    for i in range(dims):
        axis, size = g.ndim - dims + i, windows.input[i]
        if isinstance(windows, Windows):
            g = _spread(b, g, axis, (windows.kernel[i], windows.stride[i], windows.padding[i]), size)
        else:
            g = _spread_shares(b, g, axis, pieces(windows, i), size)
    return g


def _spread(b: Builder, g: Value, axis: int, window: tuple[int, int, int], size: int) -> Value:
    """Each position's sum over the windows that hold it.

    Padded positions are counted in blocks of one stride: windows that begin m blocks earlier hold the first
    ``kernel − m · stride`` positions of a block.
    """
    kernel, stride, padding = window
    blocks = -(-(padding + size) // stride)
    front, outputs, behind = g.shape[:axis], g.shape[axis], g.shape[axis + 1 :]
    total: Value | None = None
    for m in range(-(-kernel // stride)):
        width, count = min(kernel - m * stride, stride), min(outputs, blocks - m)
        if count < 1:
            break
        each = b.reshape(_part(b, g, axis, slice(0, count)), (*front, count, 1, *behind))
        block = b.expand(each, (*front, count, width, *behind))
        edges = [(0, 0)] * len(front) + [(m, blocks - m - count), (0, stride - width)] + [(0, 0)] * len(behind)
        part = padded(b, block, edges)
        total = part if total is None else b.elementwise("add", total, part)
    assert total is not None
    inside = slice(padding, padding + size)
    return _part(b, b.reshape(total, (*front, blocks * stride, *behind)), axis, inside)


def _spread_shares(b: Builder, g: Value, axis: int, parts: Any, size: int) -> Value:
    """The same where windows differ in size: neighbours that are held by the same windows receive the same sum."""
    holders = [[i for i, (seen, _) in enumerate(parts) if seen.start <= q < seen.stop] for q in range(size)]
    runs = [(held, len(list(run))) for held, run in groupby(holders)]
    sums = [b.reduce("sum", _part(b, g, axis, slice(held[0], held[-1] + 1)), axis, True) for held, _ in runs]
    shapes = [(*g.shape[:axis], count, *g.shape[axis + 1 :]) for _, count in runs]
    return joined(b, [b.expand(x, shape) for x, shape in zip(sums, shapes, strict=True)], axis)


def _number(b: Builder, divisor: Any, dtype: Any) -> Any:
    """A number, or an array with one for each window, put together of what is the same in neighbouring windows."""
    divisor = np.asarray(divisor, np.float64)
    if not divisor.ndim or (divisor == divisor.flat[0]).all():
        return b.expand(b.constant(divisor.flat[0], dtype), divisor.shape)
    lines = [line.tobytes() for line in divisor]
    starts = [i for i in range(len(lines)) if i == 0 or lines[i] != lines[i - 1]]
    counts = np.diff([*starts, len(lines)])
    shape = divisor.shape[1:]
    rows = [b.reshape(_number(b, divisor[i], dtype), (1, *shape)) for i in starts]
    return joined(b, [b.expand(row, (int(n), *shape)) for row, n in zip(rows, counts, strict=True)], 0)
