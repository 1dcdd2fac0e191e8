"""About how long things take on one thread, in nanoseconds: good enough to decide what is worth sharing out."""

from __future__ import annotations

from math import prod

from ..codegen.gemm_plan import plan
from ..codegen.target import host_target
from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..loops.groups import Group
from .products import product_of

BARRIER = 10_000.0
"""All threads waiting for the slowest of them, which others on the machine may have held up, and fetching what another
one has written. Waiting alone takes 2 µs; this is the least from which on whole steps got no quicker."""

_FLOPS = 50.0
"""Of products, each nanosecond."""

_ELEMENT = 0.15
"""An elementwise operation on one element, memory counted in."""

_FUNCTION = 0.7
"""An elementary function of one element."""

_PACKED = 0.3
"""Packing one element of an operand."""

_LISTED = 0.5
"""Copying one element of the left operand, which another thread may have made, and looking if it is zero."""

_ASKED_FOR = 0.1
"""Packing one element of an operand that lies as it is packed, and was asked for beforehand."""

_READ = 0.1
"""Going through one element of an operand that need not be packed."""

_FUNCTIONS = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "erf", "erfc", "erfinv", "atan2"),
        *("sqrt", "div", "logaddexp", "hypot", "sinc"),
    }
)


def work(group: Group) -> float:
    """All that a group does."""
    return sum(map(_work, group.members))


def _work(member: Instruction) -> float:
    if member.opcode == "matmul":
        return 2.0 * member.result.size * member.operands[0].shape[-1] / _FLOPS
    if member.opcode == "leaf":
        moved = sum(v.size for v in (*member.operands, *member.results))
        return float(member.params["leaf"].flops) / _FLOPS + _ELEMENT * moved
    size = max((v.size for v in (*member.operands, *member.results)), default=0)
    return size * (_FUNCTION if member.opcode in _FUNCTIONS else _ELEMENT)


def repacking(instruction: Instruction, layouts: dict[Value, Layout], place: int, parts: int) -> float:
    """What sharing out a product adds; ``place`` is 0 for its rows, 1 for its columns, negative for whole matrices.

    Each share of the rows packs all of the right operand; shares of columns go through all of the left one. Where the
    transpose is computed it is the other way round.
    """
    if place < 0:
        return 0.0
    spec = product_of(instruction, layouts).spec
    cut = plan(spec, host_target())
    if cut.sparse is not None:
        right, left = _ASKED_FOR if spec.b_strides[1] == 1 else _PACKED, _LISTED
    elif cut.turned is not None:
        right, left = _READ, _PACKED if spec.a_strides[0] != 1 else _READ
    else:
        right, left = _PACKED if cut.pack_b else 0.0, _READ
    again = (1 - 1 / parts) * prod(instruction.result.shape[:-2]) * spec.k
    return again * (right * spec.n if place == 0 else left * spec.m)


__all__ = ["BARRIER", "repacking", "work"]
