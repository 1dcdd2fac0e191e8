"""Matrix products: which kernel computes one, and with which pointers it is called."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as combinations
from math import prod
from typing import Any, NamedTuple

from ..codegen.gemm_plan import Gemm
from ..ir.layout import Layout, Strides, broadcast_strides
from ..ir.program import Instruction, Value


class Product(NamedTuple):
    """One (batched) product: its kernel's specification, and where in the operands and the result each matrix of the
    batch begins, in elements; ``lead`` are the sizes of the batch's dimensions."""

    spec: Gemm
    starts: list[tuple[int, int, int]]
    lead: tuple[int, ...]

    def share(self, axis: int, begin: int, count: int) -> Product:
        """``count`` rows (axis −2), columns (−1) or entries of a dimension of the batch (less) from ``begin``."""
        spec, starts = self.spec, self.starts
        if axis == -2:
            move = begin * spec.a_strides[0], 0, begin * spec.c_stride
            return Product(replace(spec, m=count), _moved(starts, move), self.lead)
        if axis == -1:
            return Product(replace(spec, n=count), _moved(starts, (0, begin * spec.b_strides[1], begin)), self.lead)
        place = axis + 2 + len(self.lead)
        inner, size = prod(self.lead[place + 1 :]), self.lead[place]
        chosen = [start for i, start in enumerate(starts) if begin <= i // inner % size < begin + count]
        return Product(spec, chosen, (*self.lead[:place], count, *self.lead[place + 1 :]))


def unreadable(shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether the right operand of a product must be copied: neither rows nor columns have neighbouring elements."""
    return 1 not in matrix_strides(shape, strides)


def product_of(instruction: Instruction, layouts: dict[Value, Layout]) -> Product:
    """How a ``matmul`` is computed."""
    a, b = instruction.operands
    result = instruction.result
    first, second = layouts[a], layouts[b]
    m, n = result.shape[-2:]
    assert result.dtype is not None
    spec = Gemm(
        m,
        n,
        a.shape[-1],
        matrix_strides(a.shape, first.strides),
        matrix_strides(b.shape, second.strides),
        n,
        result.dtype.name,
        zeros=bool(instruction.params.get("zeros")),
    )
    return Product(spec, _starts(result.shape, (a, first), (b, second)), result.shape[:-2])


def matrix_strides(shape: tuple[int, ...], strides: Strides) -> tuple[int, int]:
    """The strides of the last two dimensions; one of size 1 may count as having neighbours."""
    (rows, columns), (down, along) = shape[-2:], strides[-2:]
    if columns == 1 and down != 1:
        along = 1
    elif rows == 1 and along != 1:
        down = 1
    return down, along


def _moved(starts: list[tuple[int, int, int]], by: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    return [(a + by[0], b + by[1], c + by[2]) for a, b, c in starts]


def _starts(
    shape: tuple[int, ...], first: tuple[Value, Layout], second: tuple[Value, Layout]
) -> list[tuple[int, int, int]]:
    lead = shape[:-2]
    steps = [broadcast_strides(v.shape[:-2], layout.strides[:-2], lead) for v, layout in (first, second)]
    found = []
    for place, index in enumerate(combinations(*map(range, lead))):
        moved = [sum(i * s for i, s in zip(index, step, strict=True)) for step in steps]
        found.append((first[1].offset + moved[0], second[1].offset + moved[1], place * shape[-2] * shape[-1]))
    return found


def operand_bases(instruction: Instruction, layouts: dict[Value, Layout]) -> tuple[Any, Any]:
    """The values in whose memory the operands lie."""
    a, b = instruction.operands
    return layouts[a].base, layouts[b].base
