"""Algebra that changes no result: views of views, parts of parts, products with one, gates that cannot close."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from ..ir.build import Builder
from ..ir.program import Instruction, Program, Value
from .known import Known
from .parts import joined_once, part_of_parts

Rule = Callable[[Instruction, Known, Builder], "Value | None"]


def _view_of_view(i: Instruction, known: Known, builder: Builder) -> Value | None:
    (x,) = i.operands
    if i.result.shape == x.shape and (i.opcode != "permute" or i.params["dims"] == tuple(range(x.ndim))):
        return x
    if known.opcode(x) != i.opcode:
        return None
    (inner,) = known.makers[x].operands
    if i.opcode == "reshape":
        return builder.reshape(inner, i.result.shape)
    if i.opcode == "permute":
        before = known.makers[x].params["dims"]
        return builder.permute(inner, tuple(before[d] for d in i.params["dims"]))
    return None


def _times_one(i: Instruction, known: Known, builder: Builder) -> Value | None:
    """``1 · x`` and ``x / 1`` are x, bit for bit."""
    for a, b in ((0, 1), (1, 0)) if i.opcode in ("mul", "gated") else ((1, 0),):
        if known.constant(i.operands[a]) == 1.0 and i.operands[b].shape == i.result.shape:
            return i.operands[b]
    return None


def _open_gate(i: Instruction, known: Known, builder: Builder) -> Value | None:
    """An upstream gradient that is a number other than zero multiplies as any other."""
    g = known.constant(i.operands[0])
    if g is None or g == 0 or not isfinite(g):
        return None
    return builder.emit("mul", i.operands, i.result.shape, i.result.dtype)


def _stretched_operand(i: Instruction, known: Known, builder: Builder) -> Value | None:
    """Elementwise instructions stretch their operands themselves."""
    operands = tuple(_unstretched(x, known) for x in i.operands)
    if operands == i.operands or _broadcast(operands) != i.result.shape:
        return None
    return builder.emit(i.opcode, operands, i.result.shape, i.result.dtype, **i.params)


def _unstretched(x: Value, known: Known) -> Value:
    return known.makers[x].operands[0] if known.opcode(x) == "expand" else x


def _broadcast(operands: tuple[Value, ...]) -> tuple[int, ...]:
    from numpy import broadcast_shapes

    return tuple(broadcast_shapes(*[x.shape for x in operands]))


_ELEMENTWISE: list[Rule] = [_stretched_operand]

RULES: dict[str, list[Rule]] = {
    "reshape": [_view_of_view],
    "permute": [_view_of_view],
    "expand": [_view_of_view],
    "slice": [part_of_parts],
    "cat": [joined_once],
    "mul": [_times_one, _stretched_operand],
    "div": [_times_one, _stretched_operand],
    "gated": [_times_one, _open_gate, _stretched_operand],
    **dict.fromkeys(("add", "sub", "where", "maximum", "minimum"), _ELEMENTWISE),
}


def simplified(program: Program) -> Program:
    """The program with every rule applied where it fits, from the first instruction to the last."""
    same: dict[Value, Value] = {}
    known = Known()
    builder = Builder()
    for instruction in program.body:
        instruction = instruction.replaced(tuple(same.get(v, v) for v in instruction.operands))
        start = len(builder.body)
        builder.mark, builder.scope = instruction.mark, instruction.scope
        found = None
        for rule in RULES.get(instruction.opcode, ()):
            found = rule(instruction, known, builder)
            if found is not None:
                break
        if found is None:
            builder.body.append(instruction)
        else:
            same[instruction.result] = found
        for made in builder.body[start:]:
            known.makers.update(dict.fromkeys(made.results, made))
    return program.replaced(builder.body, same)
