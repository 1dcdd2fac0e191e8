"""Average pooling, forwards and backwards. Max pooling is left to :mod:`..passes.max_pooling`, after convolutions."""

from __future__ import annotations

from typing import Any

from ...ops.average_pooling import AvgPool, AvgSpread, pieces
from ...ops.windows import Windows
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined, padded
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
    starts, steps = ([value if d == axis else other for d in range(x.ndim)] for value, other in ((start, 0), (step, 1)))
    shape = (*x.shape[:axis], len(range(start, stop, step)), *x.shape[axis + 1 :])
    return b.slice(x, tuple(starts), tuple(steps), shape)


@lowering(AvgPool, rules="traced")
def average(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The mean of each window."""
    (x,), (windows, divisor) = inputs, params.values()
    if getattr(divisor, "ndim", 0) or not x.size or not like.size:
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
    return b.elementwise("div", total, float(divisor))


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
    """Gradients shared out over the windows."""
    (g,), (windows, divisor) = inputs, params.values()
    if getattr(divisor, "ndim", 0) or not g.size or not (_beside(windows) and _whole(windows)):
        return None
    lead = g.shape[: g.ndim - len(windows.output)]
    apart, full, near = list(lead), list(lead), list(lead)
    for o, k in zip(windows.output, windows.kernel, strict=True):
        apart += [o, 1]
        full += [o, k]
        near.append(o * k)
    share = b.reshape(b.elementwise("div", g, float(divisor)), tuple(apart))
    inside = b.reshape(b.expand(share, tuple(full)), tuple(near))
    return padded(b, inside, [(0, n - m) for n, m in zip(like.shape, near, strict=True)])
