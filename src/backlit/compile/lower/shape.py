"""Operations that change shapes and not values."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    """Integers, slices, None and an ellipsis."""
    return builder.reshape(sliced(builder, inputs[0], params["key"]), like.shape)


class Cut(NamedTuple):
    """What a basic key selects: for each dimension a start, a step and a count, and the result's shape."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    counts: tuple[int, ...]
    shape: tuple[int, ...]


def cut_by(key: Any, sizes: tuple[int, ...]) -> Cut:
    """Read a key of integers, slices, None and an ellipsis."""
    items = list(key)
    if ... in items:
        place = items.index(...)
        missing = len(sizes) - sum(item is not None for item in items) + 1
        items[place : place + 1] = [slice(None)] * missing
    items += [slice(None)] * (len(sizes) - sum(item is not None for item in items))
    starts, steps, counts, shape = [], [], [], []
    following = iter(sizes)
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = next(following)
        start, stop, step = item.indices(size) if isinstance(item, slice) else (int(item) % max(size, 1), 0, 1)
        count = len(range(start, stop, step)) if isinstance(item, slice) else 1
        starts.append(start)
        steps.append(step)
        counts.append(count)
        if isinstance(item, slice):
            shape.append(count)
    return Cut(tuple(starts), tuple(steps), tuple(counts), tuple(shape))


def sliced(builder: Builder, x: Value, key: Any) -> Value:
    """The part of a value that a basic key selects."""
    cut = cut_by(key, x.shape)
    return builder.reshape(builder.slice(x, cut.starts, cut.steps, cut.counts), cut.shape)


def along(b: Builder, x: Value, dim: int, start: int, step: int, count: int) -> Value:
    """``count`` positions of one dimension."""
    if (start, step, count) == (0, 1, x.shape[dim]):
        return x
    starts, steps = (replaced((n,) * x.ndim, dim, m) for n, m in ((0, start), (1, step)))
    return b.slice(x, starts, steps, replaced(x.shape, dim, count))


def replaced(numbers: tuple[int, ...], place: int, number: int) -> tuple[int, ...]:
    """A tuple with another number in one place."""
    return (*numbers[:place], number, *numbers[place + 1 :])


def unbroadcast(builder: Builder, x: Value, shape: tuple[int, ...]) -> Value:
    """The sum over what was stretched from ``shape``, which may have more dimensions of size 1 in front."""
    lead = x.ndim - len(shape)
    own = (1,) * lead + tuple(shape[max(0, -lead) :])
    axes = tuple(i for i, (n, m) in enumerate(zip(own, x.shape, strict=True)) if n == 1 != m)
    return builder.reshape(builder.reduce("sum", x, axes, True) if axes else x, shape)


@lowering(Clone, rules="traced")
def clone(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The value itself: in a program nothing is overwritten."""
    return inputs[0]
