"""Compute once what is written down twice."""

from __future__ import annotations

from typing import Any

from ..ir.program import Instruction, Program, Value


def without_repetitions(program: Program) -> Program:
    """Instructions with the same opcode, operands and settings put together; calls of Python are left alone."""
    same: dict[Value, Value] = {}
    known: dict[Any, Instruction] = {}
    body = []
    for instruction in program.body:
        instruction = instruction.replaced(tuple(same.get(v, v) for v in instruction.operands))
        if instruction.opcode != "extern":
            key = _key(instruction)
            earlier = known.setdefault(key, instruction)
            if earlier is not instruction:
                same.update(zip(instruction.results, earlier.results, strict=True))
                continue
        body.append(instruction)
    return program.replaced(body, same)


def _key(instruction: Instruction) -> Any:
    if instruction.opcode == "leaf":
        params = instruction.params  # its meaning in NumPy is another function each time
        settings: Any = params["leaf"], params.get("parts")
    else:
        # A constant's text tells −0.0 from 0.0 and finds NaN equal to itself.
        settings = tuple((name, repr(value)) for name, value in sorted(instruction.params.items()))
    made = tuple((v.shape, v.dtype) for v in instruction.results)
    return instruction.opcode, instruction.operands, settings, made
