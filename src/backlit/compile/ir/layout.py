"""Where the elements of a value lie: views of other values as strides and an offset, without copying."""

from __future__ import annotations

from typing import NamedTuple

from .program import Instruction, Value

VIEWS = frozenset({"reshape", "permute", "expand", "slice"})

Strides = tuple[int, ...]


class Layout(NamedTuple):
    """Element ``index`` of a value is element ``offset + Σ index · strides`` of ``base``."""

    base: Value
    strides: Strides
    offset: int = 0


def row_major(shape: tuple[int, ...]) -> Strides:
    """The strides of an array without gaps, the last dimension closest."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def is_row_major(shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether an array lies without gaps; how far it would be along a dimension of size 1 says nothing."""
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, row_major(shape), strict=True))


def view_layout(view: Instruction, inner: Layout) -> Layout | None:
    """The layout of a view's result, given that of its operand; None where only a copy would do."""
    (operand,), shape = view.operands, view.result.shape
    if view.opcode == "permute":
        return Layout(inner.base, tuple(inner.strides[d] for d in view.params["dims"]), inner.offset)
    if view.opcode == "slice":
        moved = sum(start * s for start, s in zip(view.params["starts"], inner.strides, strict=True))
        steps = tuple(step * s for step, s in zip(view.params["steps"], inner.strides, strict=True))
        return Layout(inner.base, steps, inner.offset + moved)
    if view.opcode == "expand":
        return Layout(inner.base, broadcast_strides(operand.shape, inner.strides, shape), inner.offset)
    strides = reshaped_strides(operand.shape, inner.strides, shape)
    return None if strides is None else Layout(inner.base, strides, inner.offset)


def broadcast_strides(shape: tuple[int, ...], strides: Strides, wanted: tuple[int, ...]) -> Strides:
    """Strides to read an array of ``shape`` as if it had the shape ``wanted``; stretched dimensions do not move."""
    lead = len(wanted) - len(shape)
    own = tuple(0 if n == 1 != m else s for n, s, m in zip(shape, strides, wanted[lead:], strict=True))
    return (0,) * lead + own


def reshaped_strides(shape: tuple[int, ...], strides: Strides, wanted: tuple[int, ...]) -> Strides | None:
    """Strides to read the elements in row-major order in another shape; None where they are not evenly spaced."""
    if 0 in shape:
        return row_major(wanted)
    runs = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    found: list[int] = []
    size = step = 1  # elements of the run at hand that are still to be given out, and how far apart they lie
    for n in reversed(wanted):
        if n == 1:
            found.append(0)
            continue
        while size % n:
            if not runs:
                return None
            more, wider = runs.pop()
            if size == 1:
                step = wider
            elif wider != step * size:
                return None
            size *= more
        found.append(step)
        size, step = size // n, step * n
    return tuple(reversed(found))
