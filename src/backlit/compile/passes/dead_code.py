"""Leave out what nobody needs."""

from __future__ import annotations

from ..ir.program import Instruction, Program


def has_effect(instruction: Instruction) -> bool:
    """Whether an instruction must run even where its results are not used: it draws random numbers, say."""
    if instruction.opcode == "extern":
        return bool(getattr(instruction.params["call"], "impure", False))
    return instruction.opcode == "require"


def without_dead_code(program: Program) -> Program:
    """The instructions that outputs, writes and effects depend on."""
    needed = set(program.results())
    kept = []
    for instruction in reversed(program.body):
        if has_effect(instruction) or any(value in needed for value in instruction.results):
            kept.append(instruction)
            needed.update(instruction.operands)
    return program.replaced(reversed(kept))
