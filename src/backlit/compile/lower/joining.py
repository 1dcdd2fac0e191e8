"""Arrays put together: cat, and gradients of parts that tile the whole."""

from __future__ import annotations

from typing import Any

from ...ops.joining import Cat
from ...ops.slicing import Assemble
from ..ir.build import Builder
from ..ir.program import Value
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
    """Parts side by side along one dimension that leave nothing out: as when a split is undone."""
    found = [_range(key, like.shape) for key in params["keys"]]
    dims = {place[0] for place in found if place is not None}
    if None in found or len(dims) != 1:
        return None
    order = sorted(range(len(found)), key=lambda i: found[i][1])  # type: ignore[index]
    end = 0
    for i in order:
        _, start, stop = found[i]  # type: ignore[misc]
        if start != end:
            return None
        end = stop
    (dim,) = dims
    if end != like.shape[dim]:
        return None
    return b.emit("cat", [inputs[i] for i in order], like.shape, like.dtype, dim=dim)


def _range(key: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """``(dim, start, stop)`` of a key that cuts one dimension with step 1."""
    items = list(key)
    if items.count(...) > 1 or any(not isinstance(item, slice) for item in items if item is not ...):
        return None
    if ... in items:
        place = items.index(...)
        items[place : place + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    cut = [d for d, item in enumerate(items) if item.indices(shape[d]) != (0, shape[d], 1)]
    if len(cut) != 1:
        return None
    start, stop, step = items[cut[0]].indices(shape[cut[0]])
    return (cut[0], start, max(start, stop)) if step == 1 else None
