"""Max poolings that no convolution took up, as loops: the largest value of each window, and where it lies.

The gradient goes to the places that won. NaN counts as largest, the last of several as in eager mode.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any

from ...ops.max_pooling import MaxPool
from ...ops.windows import Windows
from ..ir.build import Builder
from ..ir.layout import row_major
from ..ir.program import Instruction, Program, Value
from ..lower.joining import padded
from ..lower.lookups import added

MOST_TAPS = 64
"""Of larger windows the loop, which has each tap written out, would be too long."""


def with_native_max_pooling(program: Program) -> Program:
    """The program without calls of max pooling in NumPy, as far as loops can do the same."""
    builder, uses = Builder(), program.uses()
    same: dict[Value, Value] = {}
    places: dict[Value, Value] = {}
    for instruction in program.body:
        instruction = instruction.replaced(tuple(same.get(v, v) for v in instruction.operands))
        builder.mark, builder.scope = instruction.mark, instruction.scope
        if _is_forward(instruction, uses):
            made, places[instruction.results[1]] = _largest(builder, instruction)
            same[instruction.result] = made
        elif _is_backward(instruction) and instruction.operands[1] in places:
            g, winners = instruction.operands
            numbers = places[winners]
            total = added(builder, builder.reshape(g, (g.size, 1)), numbers, instruction.result.size)
            same[instruction.result] = builder.reshape(total, instruction.result.shape)
        else:
            builder.body.append(instruction)
    return program.replaced(builder.body, same)


def _is_forward(i: Instruction, uses: dict[Value, list[Instruction]]) -> bool:
    call = i.params.get("call")
    if i.opcode != "extern" or getattr(call, "op", None) is not MaxPool or len(i.results) != 2 or len(i.operands) != 1:
        return False
    windows: Windows = call.params["windows"]  # type: ignore[union-attr]
    x = i.operands[0]
    known = not any(windows.padding) or all(d == 1 for d in windows.dilation)
    return (
        known
        and prod(windows.kernel) <= MOST_TAPS
        and x.kind == "f"
        and x.size > 0
        and all(map(_is_backward, uses.get(i.results[1], [])))
    )


def _is_backward(i: Instruction) -> bool:
    call: Any = i.params.get("call")
    return i.opcode == "extern" and call.__name__ == f"{MaxPool.name}.pull" and len(i.operands) == 2


def _largest(b: Builder, pooling: Instruction) -> tuple[Value, Value]:
    """The maxima, and the positions in the whole input that they come from."""
    (x,), windows = pooling.operands, pooling.params["call"].params["windows"]
    dims = len(windows.input)
    lead = x.shape[: x.ndim - dims]
    wide = _reaching(b, x, windows, lead)
    best: Value | None = None
    place = _corner(b, x.shape, windows, inside=True)
    for tap in range(prod(windows.kernel)):
        offsets = _offsets(tap, windows)
        starts = (*[0] * len(lead), *offsets)
        part = b.slice(wide, starts, (*[1] * len(lead), *windows.stride), (*lead, *windows.output))
        if best is None:
            best = part
            continue
        here = b.elementwise("add", _corner(b, x.shape, windows), _distance(offsets, x.shape))
        wins = b.elementwise("or", b.elementwise("gt", part, best), b.elementwise("ne", part, part))
        place = b.elementwise("where", wins, here, place)
        best = b.elementwise("maximum", best, part)
    assert best is not None
    shape = (*lead, *windows.output)
    return best, b.reshape(b.expand(place, shape), (prod(shape),))


def _reaching(b: Builder, x: Value, windows: Windows, lead: tuple[int, ...]) -> Value:
    """The input with −inf around it, as far as windows reach."""
    edges = [(0, 0)] * len(lead)
    for k, s, p, d, n, o in zip(*windows, strict=True):
        edges.append((p, max((o - 1) * s - p + (k - 1) * d + 1 - n, 0)))
    return padded(b, x, edges, -inf)


def _offsets(tap: int, windows: Windows) -> tuple[int, ...]:
    """How far a tap lies from a window's corner."""
    found = []
    for k, d in zip(reversed(windows.kernel), reversed(windows.dilation), strict=True):
        tap, along = divmod(tap, k)
        found.append(along * d)
    return tuple(reversed(found))


def _distance(offsets: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return sum(o * s for o, s in zip(offsets, row_major(shape)[-len(offsets) :], strict=True))


def _corner(b: Builder, shape: tuple[int, ...], windows: Windows, inside: bool = False) -> Value:
    """The position of each window's corner; with ``inside`` of its first element that is not padding."""
    lead = len(shape) - len(windows.input)
    total: Value | None = None
    for axis, step in enumerate(row_major(shape)):
        d = axis - lead
        along = b.iota(shape[axis] if d < 0 else windows.output[d])
        if d >= 0:
            along = b.elementwise("sub", b.elementwise("mul", along, windows.stride[d]), windows.padding[d])
            along = b.elementwise("maximum", along, 0) if inside and windows.padding[d] else along
        along = b.reshape(b.elementwise("mul", along, step), tuple(-1 if a == axis else 1 for a in range(len(shape))))
        total = along if total is None else b.elementwise("add", total, along)
    assert total is not None
    return total


__all__ = ["with_native_max_pooling"]
