"""Matrix products as calls of BLAS, whose address the step is given in its table."""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod
from typing import Any

from llvmlite import ir

from ..codegen.values import DOUBLE, FLOAT, INT32
from ..ir.layout import Layout, broadcast_strides
from ..ir.program import Instruction, Value

BYTE = ir.IntType(8)
POINTER = ir.PointerType()


@cache
def blas_address(dtype: str) -> int:
    """The address of ``sgemm`` or ``dgemm``."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["sgemm" if dtype == "float32" else "dgemm"]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(address(capsule, name(capsule)))


def needs_copy(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether BLAS cannot read a matrix as it lies: neither rows nor columns have neighbouring elements."""
    (rows, columns), (down, along) = shape[-2:], strides[-2:]
    by_rows = along == 1 or columns == 1
    by_columns = down == 1 or rows == 1
    if by_rows and (rows == 1 or down >= max(columns, 1)):
        return False
    return not (by_columns and (columns == 1 or along >= max(rows, 1)))


def _turned(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[bool, int]:
    """Whether a matrix lies column by column, and the distance between its rows (or columns)."""
    (rows, columns), (down, along) = shape[-2:], strides[-2:]
    if (along == 1 or columns == 1) and (rows == 1 or down >= max(columns, 1)):
        return False, down if rows > 1 else max(columns, 1)
    return True, along if columns > 1 else max(rows, 1)


class ProductCall:
    """One (batched) product, ready to be emitted."""

    def __init__(self, product: Instruction, layouts: dict[Value, Layout]) -> None:
        a, b = product.operands
        self.result = product.result
        lead = self.result.shape[:-2]
        self.lead = lead
        self.operands = (a, b)
        self.layouts = [layouts[a], layouts[b]]
        self.batch = [broadcast_strides(x.shape[:-2], layouts[x].strides[:-2], lead) for x in (a, b)]
        self.sizes = (a.shape[-2], b.shape[-1], a.shape[-1])

    def emit(self, builder: ir.IRBuilder, gemm: Any, pointers: tuple[Any, Any, Any], scratch: BlasConstants) -> None:
        """Call ``gemm`` for each matrix of the batch; ``pointers`` are those of the bases and of the result."""
        m, n, _ = self.sizes
        if not (m and n and prod(self.lead)):
            return
        assert self.result.dtype is not None
        size = self.result.dtype.itemsize
        for place, index in enumerate(_indices(self.lead)):
            shifts = [
                layout.offset + sum(i * s for i, s in zip(index, batch, strict=True))
                for layout, batch in zip(self.layouts, self.batch, strict=True)
            ]
            at = [_shifted(builder, p, s * size) for p, s in zip(pointers, (*shifts, place * m * n), strict=True)]
            self._call(builder, gemm, at, scratch)

    def _call(self, builder: ir.IRBuilder, gemm: Any, at: list[Any], scratch: BlasConstants) -> None:
        """Row-major C = A B is column-major Cᵀ = Bᵀ Aᵀ."""
        m, n, k = self.sizes
        (turned_a, step_a), (turned_b, step_b) = (
            _turned(x.shape, layout.strides) for x, layout in zip(self.operands, self.layouts, strict=True)
        )
        one, zero = scratch.number(1.0, self.result.dtype), scratch.number(0.0, self.result.dtype)
        letters = [scratch.letter("T" if turned else "N") for turned in (turned_b, turned_a)]
        integers = [scratch.integer(x) for x in (n, m, k, step_b, step_a, max(n, 1))]
        builder.call(
            gemm,
            [*letters, *integers[:3], one, at[1], integers[3], at[0], integers[4], zero, at[2], integers[5]],
        )


class BlasConstants:
    """Constants that BLAS takes by address, as globals of the module."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module

    def _constant(self, name: str, type_: ir.Type, value: Any) -> Any:
        known = self.module.globals.get(name)
        if known is None:
            known = ir.GlobalVariable(self.module, type_, name)
            known.initializer = ir.Constant(type_, value)
            known.global_constant = True
            known.linkage = "internal"
        return known

    def letter(self, letter: str) -> Any:
        return self._constant(f"letter.{letter}", BYTE, ord(letter))

    def integer(self, number: int) -> Any:
        return self._constant(f"integer.{number}", INT32, number)

    def number(self, number: float, dtype: Any) -> Any:
        return self._constant(f"{dtype.name}.{number:g}", FLOAT if dtype.itemsize == 4 else DOUBLE, number)


GEMM_TYPE = ir.FunctionType(ir.VoidType(), [POINTER] * 13)


def _indices(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for n in shape:
        found = [(*index, i) for index in found for i in range(n)]
    return found


def _shifted(builder: ir.IRBuilder, pointer: Any, offset: int) -> Any:
    if not offset:
        return pointer
    return builder.gep(pointer, [ir.Constant(ir.IntType(64), offset)], source_etype=BYTE)
