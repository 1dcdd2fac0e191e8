"""Operations that change shapes and not values."""

from __future__ import annotations

from typing import Any

from ...ops.shape import Clone, Expand, Permute, Reshape
from ...ops.slicing import Slice
from ..ir.build import Builder
from ..ir.program import Value
from .table import lowering


@lowering(Reshape, rules="traced")
def reshape(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The same elements in another shape."""
    return builder.reshape(inputs[0], like.shape)


@lowering(Permute, rules="traced")
def permute(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Dimensions reordered."""
    return builder.permute(inputs[0], params["dims"])


@lowering(Expand, rules="traced")
def expand(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Dimensions stretched."""
    return builder.expand(inputs[0], like.shape)


@lowering(Slice, rules="traced")
def part(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Integers, slices, None and an ellipsis, as a start and a step for each dimension."""
    (x,) = inputs
    key = list(params["key"])
    if ... in key:
        place = key.index(...)
        missing = x.ndim - sum(item is not None for item in key) + 1
        key[place : place + 1] = [slice(None)] * missing
    starts, steps, shape = [], [], []
    sizes = iter(x.shape)
    for item in [item for item in key if item is not None]:
        size = next(sizes)
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            starts.append(start)
            steps.append(step)
            shape.append(len(range(start, stop, step)))
        else:
            starts.append(int(item) % max(size, 1))
            steps.append(1)
            shape.append(1)
    rest = list(sizes)
    full = (*shape, *rest)
    made = builder.slice(x, (*starts, *[0] * len(rest)), (*steps, *[1] * len(rest)), full)
    return builder.reshape(made, like.shape)


@lowering(Clone, rules="traced")
def clone(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The value itself: in a program nothing is overwritten."""
    return inputs[0]
