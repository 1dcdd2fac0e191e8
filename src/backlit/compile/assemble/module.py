"""The LLVM module of a step: its kernels, and functions that call them in order with pointers from a table.

The step is one function ``void step0(pointer table)`` where everything is native; calls of Python functions cut it into
``step0``, ``step1`` …. Entry ``i`` of the table is the address of buffer ``i``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from ..codegen.target import Target
from ..ir.layout import Layout
from ..ir.program import Instruction, Program, Value
from ..loops.emit import emit_kernel
from ..loops.fusion import Group
from ..loops.kernel import Kernel
from .kernels import kernel_of
from .products import GEMM_TYPE, POINTER, BlasConstants, ProductCall

INT64 = ir.IntType(64)
BYTE = ir.IntType(8)

Place = tuple[int, int]
"""A buffer's number in the table, and an offset in bytes."""


class Assembled(NamedTuple):
    """A module, the names of its entry points, and what runs in which order: names and extern instructions."""

    module: ir.Module
    entries: list[str]
    sequence: list[str | Instruction]
    kernels: list[tuple[Group, Kernel]]


class Assembler:
    """Writes the module."""

    def __init__(
        self,
        program: Program,
        layouts: dict[Value, Layout],
        places: dict[Value, Place],
        gemm_slots: dict[str, int],
        target: Target,
    ) -> None:
        self.module = ir.Module("backlit")
        self.makers = program.makers()
        self.layouts = layouts
        self.places = places
        self.gemm_slots = gemm_slots
        self.target = target
        self.functions: dict[Kernel, Any] = {}
        self.constants = BlasConstants(self.module)
        self.entries: list[str] = []
        self.sequence: list[str | Instruction] = []
        self.kernels: list[tuple[Group, Kernel]] = []
        self.builder: ir.IRBuilder | None = None
        self.pointers: dict[int, Any] = {}

    def assemble(self, groups: list[Group], stored: set[Value]) -> Assembled:
        """Emit every group."""
        for group in groups:
            first = group.members[0]
            if first.opcode == "extern":
                self._close()
                self.sequence.append(first)
                continue
            self._open()
            if first.opcode == "matmul":
                self._product(first)
            else:
                self._loop(group, stored)
        self._close()
        return Assembled(self.module, self.entries, self.sequence, self.kernels)

    def _open(self) -> None:
        if self.builder is None:
            name = f"step{len(self.entries)}"
            function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
            self.builder = ir.IRBuilder(function.append_basic_block("entry"))
            self.table = function.args[0]
            self.pointers = {}
            self.entries.append(name)
            self.sequence.append(name)

    def _close(self) -> None:
        if self.builder is not None:
            self.builder.ret_void()
            self.builder = None

    def _pointer(self, place: Place) -> Any:
        builder = self.builder
        assert builder is not None
        slot, offset = place
        if slot not in self.pointers:
            entry = builder.gep(self.table, [ir.Constant(INT64, slot)], source_etype=POINTER)
            self.pointers[slot] = builder.load(entry, typ=POINTER)
        if not offset:
            return self.pointers[slot]
        return builder.gep(self.pointers[slot], [ir.Constant(INT64, offset)], source_etype=BYTE)

    def _loop(self, group: Group, stored: set[Value]) -> None:
        kernel, buffers = kernel_of(group, self.layouts, self.makers, self.places, stored)
        if kernel not in self.functions:
            name = f"loop{len(self.functions)}"
            emit_kernel(self.module, name, kernel, self.target)
            self.functions[kernel] = self.module.get_global(name)
            self.functions[kernel].linkage = "internal"
            self.functions[kernel].attributes.add("noinline")
        self.kernels.append((group, kernel))
        assert self.builder is not None
        self.builder.call(self.functions[kernel], [self._pointer(place) for place in buffers])

    def _product(self, product: Instruction) -> None:
        call = ProductCall(product, self.layouts)
        assert product.result.dtype is not None and self.builder is not None
        gemm = self._pointer((self.gemm_slots[product.result.dtype.name], 0))
        typed = _Callable(gemm, GEMM_TYPE)
        values = (*[layout.base for layout in call.layouts], product.result)
        a, b, c = (self._pointer(self.places[v]) for v in values)
        call.emit(self.builder, typed, (a, b, c), self.constants)


class _Callable:
    """A function's address from the table; llvmlite wants to know the type of what it calls."""

    def __init__(self, pointer: Any, function_type: ir.FunctionType) -> None:
        self.type = pointer.type
        self.function_type = function_type
        self.get_reference = pointer.get_reference


__all__ = ["Assembled", "Assembler", "Place"]
