"""Make every view one that strides can express, by copying before those that cannot be."""

from __future__ import annotations

from ..ir.layout import VIEWS, Layout, Strides, row_major, view_layout
from ..ir.program import Instruction, Program, Value


def with_copies(program: Program, strides: dict[Value, Strides]) -> Program:
    """The program with a ``copy`` in front of each view that needs one; ``strides`` are those of the inputs."""
    layouts = {v: Layout(v, strides.get(v, row_major(v.shape))) for v in program.inputs}
    body: list[Instruction] = []
    for instruction in program.body:
        if instruction.opcode in VIEWS:
            operand = instruction.operands[0]
            layout = view_layout(instruction, layouts[operand])
            if layout is None:
                copy = Value(operand.shape, operand.dtype)
                body.append(Instruction("copy", (operand,), (copy,), {}, instruction.mark, instruction.scope))
                layouts[copy] = Layout(copy, row_major(copy.shape))
                instruction = instruction.replaced((copy,))
                layout = view_layout(instruction, layouts[copy])
                assert layout is not None
            layouts[instruction.result] = layout
        else:
            for value in instruction.results:
                layouts[value] = Layout(value, row_major(value.shape))
        body.append(instruction)
    return program.replaced(body)


def layouts_of(program: Program, strides: dict[Value, Strides]) -> dict[Value, Layout]:
    """Where the elements of every value lie, in a program that needs no more copies."""
    layouts = {v: Layout(v, strides.get(v, row_major(v.shape))) for v in program.inputs}
    for instruction in program.body:
        for value in instruction.results:
            view = view_layout(instruction, layouts[instruction.operands[0]]) if instruction.opcode in VIEWS else None
            layouts[value] = view or Layout(value, row_major(value.shape))
    return layouts
