"""Elements put elsewhere: stacked, padded, repeated, flipped, rolled, cut to triangles."""

from __future__ import annotations

from typing import Any

from ...ops.arranging import Flip, Repeat, Roll, Tril, Triu
from ...ops.joining import Stack
from ...ops.padding import Pad
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined, padded
from .shape import along
from .table import lowering

Params = dict[str, Any]


@lowering(Stack, rules="traced")
def stack(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Side by side along a new dimension."""
    if not like.size or any(x.dtype != like.dtype for x in inputs):
        return None
    dim = params["dim"] % like.ndim
    return joined(b, [b.reshape(x, (*x.shape[:dim], 1, *x.shape[dim:])) for x in inputs], dim)


@lowering(Pad, rules="traced")
def pad(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """A border; negative widths cut off."""
    (x,), widths = inputs, params["widths"]
    shape = tuple(n + min(a, 0) + min(c, 0) for n, (a, c) in zip(x.shape, widths, strict=True))
    if min(shape, default=1) < 1 or not like.size:
        return None
    return padded(b, x, widths, params["value"])


@lowering(Repeat, rules="traced")
def repeat(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Like tiles."""
    (x,), repeats = inputs, params["repeats"]
    if not like.size:
        return b.expand(b.constant(0, x.dtype), like.shape)
    own = (1,) * (len(repeats) - x.ndim) + x.shape
    apart = tuple(n for size in own for n in (1, size))
    full = tuple(n for pair in zip(repeats, own, strict=True) for n in pair)
    return b.reshape(b.expand(b.reshape(x, apart), full), like.shape)


@lowering(Flip, rules="traced")
def flip(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Dimensions read backwards: a view."""
    (x,) = inputs
    dims = params["dims"]
    turned = set(range(x.ndim)) if dims is None else {d % x.ndim for d in ((dims,) if isinstance(dims, int) else dims)}
    if not x.size:
        return None
    starts = tuple(n - 1 if d in turned else 0 for d, n in enumerate(x.shape))
    return b.slice(x, starts, tuple(-1 if d in turned else 1 for d in range(x.ndim)), x.shape)


@lowering(Roll, rules="traced")
def roll(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Two parts of each dimension exchanged."""
    (x,), shifts, dims = inputs, params["shifts"], params["dims"]
    if not x.size or dims is None:
        return None
    for shift, dim in zip(shifts, dims, strict=True):
        dim, size = dim % x.ndim, x.shape[dim]
        cut = -shift % size
        if cut:
            ends = ((cut, size - cut), (0, cut))
            x = joined(b, [along(b, x, dim, start, 1, count) for start, count in ends], dim)
    return x


def _triangle(comparison: str) -> Any:
    def triangle(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
        """Zeros on one side of a diagonal."""
        (x,) = inputs
        if x.ndim < 2 or not x.size or x.kind == "b":
            return None
        rows, columns = x.shape[-2:]
        border = b.elementwise("add", b.reshape(b.iota(rows), (rows, 1)), params["diagonal"])
        keep = b.elementwise(comparison, b.iota(columns), border)
        return b.elementwise("where", keep, x, b.constant(0, x.dtype))

    return triangle


lowering(Tril, rules="traced")(_triangle("le"))
lowering(Triu, rules="traced")(_triangle("ge"))
