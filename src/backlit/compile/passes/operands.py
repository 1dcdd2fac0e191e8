"""Operands of products and of calls, which are read from memory: put there where they are not, or not readable."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.layout import Layout, is_row_major
from ..ir.program import Instruction, Program, Value

Unreadable = Callable[[tuple[int, ...], tuple[int, ...]], bool]


def with_operands_in_memory(program: Program, layouts: dict[Value, Layout], unreadable: Unreadable) -> Program:
    """Copies of constants that are operands of products and calls, of right operands that products cannot read as they
    lie (``unreadable(shape, strides)``), and of operands that a leaf does not read as they lie."""
    makers = program.makers()
    body: list[Instruction] = []
    copies: dict[Value, Value] = {}

    def readable(operand: Value, user: Instruction, position: int) -> bool:
        layout = layouts[operand]
        maker = makers.get(layout.base)
        if maker is not None and maker.opcode in ("constant", "iota"):
            return False
        if user.opcode == "leaf":
            shape, strides = operand.shape, layout.strides
            return is_row_major(shape, strides) or user.params["leaf"].reads(position, shape, strides)
        return not (user.opcode == "matmul" and position == 1 and unreadable(operand.shape, layout.strides))

    for instruction in program.body:
        if instruction.opcode in ("matmul", "extern", "require", "leaf"):
            for i, operand in enumerate(instruction.operands):
                if operand not in copies and not readable(operand, instruction, i):
                    copies[operand] = Value(operand.shape, operand.dtype)
                    body.append(Instruction("copy", (operand,), (copies[operand],), {}, instruction.mark, None))
            instruction = instruction.replaced(tuple(copies.get(v, v) for v in instruction.operands))
        body.append(instruction)
    return program.replaced(body)
