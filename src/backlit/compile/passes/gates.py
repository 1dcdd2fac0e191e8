"""Products whose left operand a gate has filled with zeros: outputs of ReLU, and the gradients that come back to it.

Half of them are zero in a fresh network, and more in a trained one. The product passes over them.
"""

from __future__ import annotations

from collections.abc import Collection

from ..ir.layout import VIEWS
from ..ir.program import Instruction, Program, Value

_KEEPS = VIEWS | {"copy", "neg"}
"""What zeros stay zeros in."""


def with_known_zeros(program: Program) -> Program:
    """Products of which the left operand is mostly made by a gate say so: ``zeros``."""
    makers = program.makers()

    def marked(i: Instruction) -> Instruction:
        if i.opcode != "matmul" or not _gated(i.operands[0], makers):
            return i
        return Instruction(i.opcode, i.operands, i.results, {**i.params, "zeros": True}, i.mark, i.scope)

    return program.replaced(map(marked, program.body))


def _gated(value: Value, makers: dict[Value, Instruction]) -> bool:
    """Whether a gate that compares with zero has closed on many of the elements."""
    maker = _maker(value, makers, _KEEPS)
    if maker is not None and maker.opcode == "maximum":
        return any(_is_zero(v, makers) for v in maker.operands)
    if maker is None or maker.opcode != "where":
        return False
    condition, *branches = maker.operands
    gate = makers.get(condition)
    if gate is None or gate.opcode not in ("gt", "ge", "lt", "le"):
        return False
    return all(any(_is_zero(v, makers) for v in values) for values in (branches, gate.operands))


def _is_zero(value: Value, makers: dict[Value, Instruction]) -> bool:
    maker = _maker(value, makers, VIEWS)
    return maker is not None and maker.opcode == "constant" and maker.params["value"] == 0


def _maker(value: Value, makers: dict[Value, Instruction], through: Collection[str]) -> Instruction | None:
    """What made a value, looking through instructions of some kinds; None for an input."""
    maker = makers.get(value)
    while maker is not None and maker.opcode in through:
        maker = makers.get(maker.operands[0])
    return maker


__all__ = ["with_known_zeros"]
