"""Compute at compile time what depends on constants only."""

from __future__ import annotations

from ...numerics import quiet
from ..ir.interpret import evaluate
from ..ir.primitives import MEANING
from ..ir.program import Instruction, Program, Value


def with_folded_constants(program: Program) -> Program:
    """0-d elementwise instructions on constants replaced by their results."""
    values: dict[Value, Instruction] = {}
    body = []
    for instruction in program.body:
        known = [values[v] for v in instruction.operands if v in values]
        folds = instruction.opcode in MEANING or instruction.opcode == "cast"
        if folds and not instruction.result.shape and len(known) == len(instruction.operands):
            instruction = _folded(instruction, known)
        if instruction.opcode == "constant":
            values[instruction.result] = instruction
        body.append(instruction)
    return program.replaced(body)


def _folded(instruction: Instruction, operands: list[Instruction]) -> Instruction:
    with quiet():
        arrays = [evaluate(o, [])[0] for o in operands]
        (value,) = evaluate(instruction, arrays)
    settings = {"value": value.item()}
    return Instruction("constant", (), instruction.results, settings, instruction.mark, instruction.scope)
