"""Which results of loops are made in the memory of an operand that nobody needs afterwards.

A loop that reads an operand and writes a result at the same elements may do both in one place: what it reads there it
reads before it writes.
"""

from __future__ import annotations

from ..ir.layout import Layout, is_row_major
from ..ir.program import Value
from ..loops.fusion import Group

Lives = dict[Value, tuple[int, int]]


def reused(times: dict[Group, int], layouts: dict[Value, Layout], lives: Lives) -> dict[Value, Value]:
    """For each such result the operand in whose place it is made.

    ``times`` says when each group runs, ``lives`` from when to when the place of each value in the arena is needed.
    """
    touching: dict[tuple[int, Value], list[Group]] = {}
    for group, time in times.items():
        for base in {layouts[o].base for m in group.members for o in m.operands}:
            touching.setdefault((time, base), []).append(group)
    found: dict[Value, Value] = {}
    for group, time in times.items():
        if group.space is None:
            continue
        results = [m.result for m in group.members if m.opcode != "reduce" and _is_born(m.result, time, lives)]
        for operand in _given_up(group, time, layouts, lives):
            alone = touching[time, operand] == [group]
            result = next((r for r in results if r not in found and _fits(r, operand, layouts)), None)
            if alone and result is not None:
                found[result] = operand
    return found


def _is_born(value: Value, time: int, lives: Lives) -> bool:
    return value in lives and lives[value][0] == time


def _given_up(group: Group, time: int, layouts: dict[Value, Layout], lives: Lives) -> list[Value]:
    """What a group reads last of all, and only where it writes: neither in a product nor, after all, in a reduction."""
    own = {v for m in group.members for v in m.results}
    found: dict[Value, bool] = {}
    for member in group.members:
        for operand in member.operands:
            base = layouts[operand].base
            if base in lives and base not in own:
                direct = member.opcode not in ("matmul", "reduce") and operand.shape == group.space
                plain = layouts[operand].offset == 0 and is_row_major(operand.shape, layouts[operand].strides)
                found[base] = found.get(base, True) and direct and plain
    return [base for base, direct in found.items() if direct and lives[base][0] < time == lives[base][1]]


def _fits(result: Value, operand: Value, layouts: dict[Value, Layout]) -> bool:
    assert result.dtype is not None and operand.dtype is not None
    layout = layouts[result]
    same = (result.size, result.dtype.itemsize) == (operand.size, operand.dtype.itemsize)
    return same and layout.base is result and is_row_major(result.shape, layout.strides)


__all__ = ["reused"]
