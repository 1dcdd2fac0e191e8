"""Elementwise opcodes as vector instructions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..codegen.mathfun import ScalarFunctions
from ..codegen.values import BOOL, Value, element_type
from ..codegen.vector import VectorBuilder

_OPERATORS: dict[str, Any] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "not": operator.invert,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "square": lambda x: x * x,
    "copy": lambda x: x,
    "move": lambda x: x,
}


def compute(b: VectorBuilder, opcode: str, operands: list[Value], dtype: str) -> Value:
    """Emit one elementwise operation."""
    if opcode == "cast":
        return converted(b, operands[0], dtype)
    if opcode in _OPERATORS:
        return _OPERATORS[opcode](*operands)
    if opcode == "where":
        return b.where(*operands)
    return getattr(ScalarFunctions(b), opcode)(*operands)


def converted(b: VectorBuilder, x: Value, dtype: str) -> Value:
    """A value in another dtype; numbers are true where they are not zero."""
    element = element_type(dtype)
    if x.element == element:
        return x
    return x != 0 if element == BOOL else b.convert(x, element)


def combine(b: VectorBuilder, kind: str, x: Value, y: Value) -> Value:
    """Two parts of a reduction put together."""
    if kind in ("sum", "prod"):
        return x + y if kind == "sum" else x * y
    return b.maximum(x, y) if kind == "max" else b.minimum(x, y)


def across(b: VectorBuilder, kind: str, x: Value) -> Value:
    """All lanes of a reduction put together."""
    return {"sum": b.sum, "prod": b.prod, "max": b.max, "min": b.min}[kind](x)


def neutral(kind: str, dtype: str) -> float:
    """What a reduction in a dtype starts from."""
    if kind in ("sum", "prod"):
        return float(kind == "prod")
    if np.dtype(dtype).kind == "f":
        return -np.inf if kind == "max" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if kind == "max" else limits.max


def memory_type(dtype: str) -> Any:
    """The dtype that a buffer's elements have for the code generator: booleans lie in bytes."""
    return np.uint8 if dtype == "bool" else np.dtype(dtype)
