"""Inputs of which a part is overwritten: only that part is written, in its place.

A program overwrites nothing, so ``x[3] = row`` is a write of ``x`` put together anew around the row. What such a value
has at the place where it lies in ``x`` already need not be written: the rest becomes writes into slices of ``x``.
"""

from __future__ import annotations

from ..ir.program import Instruction, Program, Value
from .dead_code import without_dead_code

MOST = 16
"""Parts beyond that are put together first, and written in one go."""

Part = tuple[tuple[int, ...], Value]


def with_partial_writes(program: Program) -> Program:
    """The program with writes into slices of inputs instead of those that leave parts of an input as they are."""
    makers = program.makers()
    slices: list[Instruction] = []
    writes: list[tuple[Value, Value]] = []
    for target, value in program.writes:
        parts = _changes(value, target, (0,) * target.ndim, makers)
        if len(parts) > MOST or sum(part.size for _, part in parts) == target.size:
            writes.append((target, value))
            continue
        for starts, part in parts:
            place = Value(part.shape, part.dtype)
            slices.append(Instruction("slice", (target,), (place,), {"starts": starts, "steps": (1,) * target.ndim}))
            writes.append((place, part))
    left = without_dead_code(Program(program.inputs, program.body, program.outputs, writes))
    return left.replaced([*slices, *left.body])


def _changes(value: Value, target: Value, starts: tuple[int, ...], makers: dict[Value, Instruction]) -> list[Part]:
    """The parts of a value that begins at a place of the target, without those that are the target's own."""
    maker = makers.get(value)
    if maker is None:
        return [] if value is target else [(starts, value)]
    if maker.opcode == "slice" and maker.operands[0] is target and _as_it_lies(maker, starts):
        return []
    if maker.opcode != "cat":
        return [(starts, value)]
    dim, found, begin = maker.params["dim"], [], starts
    for part in maker.operands:
        found += _changes(part, target, begin, makers)
        begin = (*begin[:dim], begin[dim] + part.shape[dim], *begin[dim + 1 :])
    return found


def _as_it_lies(cut: Instruction, starts: tuple[int, ...]) -> bool:
    """Whether a slice takes neighbours from these places on."""
    steps = zip(cut.params["steps"], cut.result.shape, strict=True)
    return cut.params["starts"] == starts and all(step == 1 or n == 1 for step, n in steps)


__all__ = ["with_partial_writes"]
