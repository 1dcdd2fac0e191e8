"""The elementwise functions that instructions may name, with NumPy as their meaning.

Shapes broadcast and dtypes follow NumPy's rules, where a Python number never widens an array. The dtype of a result is
asked of NumPy itself, on empty arrays.
"""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Any

import numpy as np

from ...numerics import quiet
from ...ops.elementwise import NUMPY

DType = np.dtype[Any]

_OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floor_divide": operator.floordiv,
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
}

_NAMES = (
    "abs exp exp2 expm1 log log1p log2 log10 sqrt square sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
    "floor ceil trunc round sign maximum minimum atan2 pow remainder fmod hypot logaddexp sinc nan_to_num isnan "
    "logical_and logical_or where erf erfc erfinv gated"
)

MEANING: dict[str, Any] = {**_OPERATORS, **{name: getattr(NUMPY, name) for name in _NAMES.split()}}
"""The NumPy function of each elementwise opcode."""

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

KEEPS_OPERANDS = frozenset({"where"})
"""Opcodes whose first operand is a condition that is not brought to the others' dtype."""


@lru_cache(maxsize=4096)
def result_dtype(opcode: str, operands: tuple[DType | type, ...]) -> DType:
    """The dtype of the result; operands are dtypes, or ``bool``, ``int`` or ``float`` for Python numbers."""
    empties = [np.empty(0, d) if isinstance(d, np.dtype) else d(1) for d in operands]
    with quiet():
        return np.asarray(MEANING[opcode](*empties)).dtype


@lru_cache(maxsize=4096)
def dtypes_of(opcode: str, operands: tuple[DType | type, ...]) -> tuple[DType, tuple[DType | None, ...]]:
    """The dtype of the result, and those that the operands are brought to before; None where one stays as it is."""
    free = 1 if opcode in KEEPS_OPERANDS else 0
    common = _operand_dtype(opcode, operands[free:])
    return result_dtype(opcode, operands), (*[None] * free, *[common] * (len(operands) - free))


def _operand_dtype(opcode: str, operands: tuple[DType | type, ...]) -> DType:
    """The one dtype that the operands of an opcode are brought to before it computes."""
    common = np.result_type(*[d if isinstance(d, np.dtype) else d(1) for d in operands])
    if opcode in COMPARISONS | KEEPS_OPERANDS or opcode in ("isnan", "logical_and", "logical_or"):
        return common
    made = result_dtype(opcode, operands)
    return made if made.kind == "f" else common
