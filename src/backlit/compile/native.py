"""Which instructions native code is generated for; operations made of others are called in NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .codegen.mathfun import ScalarFunctions
from .ir.program import Instruction

DTYPES = frozenset(np.dtype(t) for t in (np.float32, np.float64, np.int64, np.int32, np.bool_))

_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}

OPERATORS = frozenset({"add", "sub", "mul", "div", "neg", *_COMPARISONS})
"""Elementwise opcodes for floats that are not functions."""

_DIVISIONS = {"floor_divide", "remainder", "fmod"}

WHOLE_NUMBERS = frozenset(
    {"add", "sub", "mul", "neg", "maximum", "minimum", "square", "where", *_COMPARISONS, *_DIVISIONS}
)
"""Elementwise opcodes for integers."""

TRUTH_VALUES = frozenset({"and", "or", "xor", "not", "logical_and", "logical_or", "where", "eq", "ne"})
"""Elementwise opcodes for booleans."""


def supports(instruction: Instruction) -> bool:
    """Whether there is native code for an instruction."""
    opcode, operands, results = instruction.opcode, instruction.operands, instruction.results
    if opcode in ("extern", "require", "leaf"):
        return True
    if not _supports(opcode, tuple([v.dtype for v in operands]), tuple([v.dtype for v in results])):
        return False
    return opcode != "matmul" or all(v.size for v in (*operands, *results))


@cache
def _supports(opcode: str, operands: tuple[Any, ...], results: tuple[Any, ...]) -> bool:
    """The same for operands and results of these dtypes, of any shapes."""
    if not DTYPES.issuperset((*operands, *results)):
        return False
    if opcode in ("constant", "iota", "reshape", "permute", "expand", "slice", "cat"):
        return True
    kinds = {dtype.kind for dtype in operands}
    if opcode == "cast":
        return kinds != {"f"} or results[0].kind != "i"
    if opcode == "matmul":
        return kinds == {"f"}
    if opcode == "reduce":
        return kinds in ({"f"}, {"i"})
    if opcode == "where":
        kinds = {results[0].kind}
    if kinds == {"f"}:
        return opcode in OPERATORS or ScalarFunctions.supports(opcode)
    return opcode in (TRUTH_VALUES if kinds == {"b"} else WHOLE_NUMBERS) and len(kinds) == 1
