"""Arrays put together: cat, and gradients of parts that tile the whole."""

from __future__ import annotations

from math import prod
from typing import Any

from ...ops.joining import Cat
from ...ops.slicing import Assemble
from ..ir.build import Builder
from ..ir.program import Value
from .lookups import added
from .shape import Cut, along, cut_by, replaced
from .table import lowering


@lowering(Cat, rules="traced")
def cat(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """Parts one after the other."""
    dim = params["dim"] % max(like.ndim, 1)
    if any(x.dtype != like.dtype or x.ndim != like.ndim for x in inputs):
        return None
    return b.emit("cat", inputs, like.shape, like.dtype, dim=dim)


@lowering(Assemble, rules="traced")
def assemble(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """Parts at their places in zeros, added up; side by side where they do not meet."""
    if like.size == 0 or any(x.dtype != like.dtype for x in inputs):
        return None
    cuts = [cut_by(key, like.shape) for key in params["keys"]]
    parts = [b.reshape(x, cut.counts) for x, cut in zip(inputs, cuts, strict=True)]
    beside = _side_by_side(b, parts, cuts, like)
    if beside is not None:
        return beside
    total: Value | None = None
    for part, cut in zip(parts, cuts, strict=True):
        if part.size:
            placed = _placed(b, part, cut, like.shape)
            total = placed if total is None else b.elementwise("add", total, placed)
    return total if total is not None else _zeros(b, like.shape, like.dtype)


def _side_by_side(b: Builder, parts: list[Value], cuts: list[Cut], like: Value) -> Value | None:
    """Parts that are whole but for one dimension, in which they do not meet: as when a split is undone."""
    dims = {d for cut in cuts for d, n in enumerate(like.shape) if (cut.starts[d], cut.counts[d]) != (0, n)}
    if len(dims) != 1 or any(step != 1 for cut in cuts for step in cut.steps):
        return None
    (dim,) = dims
    end, pieces = 0, []
    for part, cut in sorted(zip(parts, cuts, strict=True), key=lambda pair: pair[1].starts[dim]):
        if cut.starts[dim] < end:
            return None
        pieces += [_zeros(b, replaced(like.shape, dim, cut.starts[dim] - end), like.dtype), part]
        end = cut.starts[dim] + cut.counts[dim]
    pieces.append(_zeros(b, replaced(like.shape, dim, like.shape[dim] - end), like.dtype))
    return joined(b, pieces, dim)


def joined(b: Builder, parts: list[Value], dim: int) -> Value:
    """Parts one after the other; empty ones are left out."""
    shape = replaced(parts[0].shape, dim, sum(x.shape[dim] for x in parts))
    parts = [x for x in parts if x.size]
    return parts[0] if len(parts) == 1 else b.emit("cat", parts, shape, parts[0].dtype, dim=dim)


def _zeros(b: Builder, shape: tuple[int, ...], dtype: Any) -> Value:
    return b.expand(b.constant(0, dtype), shape)


def _placed(b: Builder, part: Value, cut: Cut, shape: tuple[int, ...]) -> Value:
    """A part in zeros: between zeros in each dimension, or, where it is spread out, element by element."""
    for step, count in zip(cut.steps, cut.counts, strict=True):
        if step != 1 and count > 1:
            places = b.slice(b.reshape(b.iota(prod(shape)), shape), cut.starts, cut.steps, cut.counts)
            flat = b.reshape(places, (part.size,))
            return b.reshape(added(b, b.reshape(part, (part.size, 1)), flat, prod(shape)), shape)
    return padded(b, part, [(s, n - s - c) for s, n, c in zip(cut.starts, shape, cut.counts, strict=True)])


def padded(b: Builder, x: Value, edges: list[tuple[int, int]], fill: float = 0.0) -> Value:
    """``x`` with so many entries of one number before and after it in each dimension; negative ones are cut off."""
    for dim, (before, after) in enumerate(edges):
        cut = [max(-n, 0) for n in (before, after)]
        x = along(b, x, dim, cut[0], 1, x.shape[dim] - sum(cut))
    number = b.constant(fill, x.dtype)
    for dim, (before, after) in enumerate(edges):
        if before > 0 or after > 0:
            ends = [b.expand(number, replaced(x.shape, dim, max(n, 0))) for n in (before, after)]
            x = joined(b, [ends[0], x, ends[1]], dim)
    return x
