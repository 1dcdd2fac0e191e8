"""Functions of the C library, lane by lane: exact as NumPy's and slow, for what is rare in a network's step."""

from __future__ import annotations

from llvmlite import ir

from .values import FLOAT, INT32, Value
from .vector import VectorBuilder


def per_lane(b: VectorBuilder, name: str, *operands: Value) -> Value:
    """``name`` of the C library (its ``f`` variant for float32) in every lane of operands of one type."""
    element = operands[0].element
    symbol = name + "f" if element == FLOAT else name
    known = b.ir.module.globals.get(symbol)
    if known is None:
        known = ir.Function(b.ir.module, ir.FunctionType(element, [element] * len(operands)), symbol)
    lanes = operands[0].lanes
    if not lanes:
        return Value(b, b.ir.call(known, [x.ir for x in operands]))
    result = ir.Constant(operands[0].type, ir.Undefined)
    for i in range(lanes):
        value = b.ir.call(known, [b.lane(x, i).ir for x in operands])
        result = b.ir.insert_element(result, value, ir.Constant(INT32, i))
    return Value(b, result)


__all__ = ["per_lane"]
