"""Give results memory of their own: an output that is a view, an input, or needed elsewhere is copied."""

from __future__ import annotations

from ..ir.layout import Layout, is_row_major
from ..ir.program import Instruction, Program, Value


def with_own_results(program: Program, layouts: dict[Value, Layout]) -> Program:
    """The program with copies for outputs that cannot be computed where they are handed out."""
    makers = program.makers()
    taken = {value for _, value in program.writes}
    body, outputs = list(program.body), []
    for value in program.outputs:
        layout = layouts[value]
        maker = makers.get(layout.base)
        evenly = is_row_major(value.shape, layout.strides) and layout.offset == 0 and layout.base.size == value.size
        if maker is None or maker.opcode in ("constant", "iota") or not evenly or layout.base in taken:
            copy = Value(value.shape, value.dtype)
            body.append(Instruction("copy", (value,), (copy,), {}, None, None))
            value = copy
        taken.add(layouts[value].base if value in layouts else value)
        outputs.append(value)
    return Program(program.inputs, body, outputs, program.writes)


def with_moves(program: Program, pending: list[tuple[Value, Value]]) -> Program:
    """The program with the values of some writes moved into their place at the end, in a loop of their own."""
    body, by = list(program.body), {}
    for target, value in pending:
        moved = Value(value.shape, value.dtype)
        body.append(Instruction("move", (value,), (moved,), {}, None, None))
        by[target] = moved
    writes = [(target, by.get(target, value)) for target, value in program.writes]
    return Program(program.inputs, body, program.outputs, writes)
