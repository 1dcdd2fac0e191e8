"""The LLVM module of a step: its kernels, and functions that call them in order with pointers from a table.

The step is one function ``void step0(pointer table)`` where everything is native; calls of Python functions cut it into
``step0``, ``step1`` …. Entry ``i`` of the table is the address of buffer ``i``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from ..codegen.gemm import emit_gemm, workspace_size
from ..codegen.gemm_plan import Gemm
from ..codegen.target import Target
from ..codegen.values import DOUBLE, FLOAT
from ..ir.layout import Layout
from ..ir.program import Instruction, Program, Value
from ..loops.emit import emit_kernel
from ..loops.epilogue import emit_product
from ..loops.fusion import Group
from ..loops.kernel import Access, Constant, Kernel, Load, Store
from .kernels import kernel_of
from .products import operand_bases, product_of

INT64 = ir.IntType(64)
POINTER = ir.PointerType()
BYTE = ir.IntType(8)

STATUS_SLOT = 0
"""The first entry of the table: the address of a number that is 0 unless an assumption of the program failed."""

FIRST_INPUT = 1
"""Then inputs, outputs and the arena."""

_CLOCK = "llvm.readcyclecounter"

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
        workspaces: dict[Instruction, Value],
        target: Target,
        clock_slot: int | None = None,
    ) -> None:
        """``clock_slot``: the table entry of an array that takes the processor's clock before each group and at the
        end; without one nothing is measured."""
        self.module = ir.Module("backlit")
        self.makers = program.makers()
        self.layouts = layouts
        self.places = places
        self.workspaces = workspaces
        self.target = target
        self.clock_slot = clock_slot
        self.functions: dict[Any, Any] = {}
        self.products: dict[Gemm, Any] = {}
        self.entries: list[str] = []
        self.sequence: list[str | Instruction] = []
        self.kernels: list[tuple[Group, Kernel]] = []
        self.builder: ir.IRBuilder | None = None
        self.pointers: dict[int, Any] = {}

    def assemble(self, groups: list[Group], stored: set[Value]) -> Assembled:
        """Emit every group."""
        for i, group in enumerate(groups):
            first = group.members[0]
            if self.clock_slot is not None:
                self._read_clock(i)
            if first.opcode == "extern":
                self._close()
                self.sequence.append(first)
                continue
            self._open()
            product = next((m for m in group.members if m.opcode == "matmul"), None)
            if group.space is not None and product is not None:
                self._product_and_loop(group, product, stored)
            elif product is not None:
                self._product(product)
            elif first.opcode == "require":
                self._require(first)
            elif first.opcode == "leaf":
                self._leaf(first)
            elif first.opcode == "cat":
                self._cat(first)
            else:
                self._loop(group, stored)
        if self.clock_slot is not None:
            self._read_clock(len(groups))
        self._close()
        return Assembled(self.module, self.entries, self.sequence, self.kernels)

    def _read_clock(self, i: int) -> None:
        self._open()
        assert self.builder is not None and self.clock_slot is not None
        kind = ir.FunctionType(INT64, [])
        clock = self.module.globals.get(_CLOCK) or ir.Function(self.module, kind, _CLOCK)
        self.builder.store(self.builder.call(clock, []), self._pointer((self.clock_slot, 8 * i)))

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
        self.kernels.append((group, kernel))
        self._run(kernel, buffers)

    def _run(self, kernel: Kernel, buffers: list[Place]) -> None:
        """A call of a loop's function."""
        if kernel not in self.functions:
            name = f"loop{len(self.functions)}"
            emit_kernel(self.module, name, kernel, self.target)
            self._internal(kernel, name)
        assert self.builder is not None
        self.builder.call(self.functions[kernel], [self._pointer(place) for place in buffers])

    def _require(self, check: Instruction) -> None:
        """Report and return where the operand is not 0."""
        builder = self.builder
        assert builder is not None
        (operand,) = check.operands
        assert operand.dtype is not None
        element = FLOAT if operand.dtype.itemsize == 4 else DOUBLE
        value = builder.load(self._pointer(self.places[self.layouts[operand].base]), typ=element)
        wrong = builder.fcmp_unordered("!=", value, ir.Constant(element, 0.0))
        status = self._pointer((STATUS_SLOT, 0))  # here, where it is known to all that follows
        with builder.if_then(wrong, likely=False):
            builder.store(ir.Constant(INT64, 1), status)
            builder.ret_void()

    def _product(self, instruction: Instruction) -> None:
        """A call of the product's kernel for each matrix of the batch."""
        product = product_of(instruction, self.layouts)
        if product.spec not in self.products:
            name = f"product{len(self.products)}"
            self.products[product.spec] = emit_gemm(self.module, name, product.spec, self.target)
            self.products[product.spec].linkage = "internal"
        assert self.builder is not None and instruction.result.dtype is not None
        workspace = self._pointer(self.places[self.workspaces[instruction]])
        values = (*operand_bases(instruction, self.layouts), instruction.result)
        for starts in product.starts:
            pointers = [
                self._pointer(_moved(self.places[value], start * instruction.result.dtype.itemsize))
                for value, start in zip(values, starts, strict=True)
            ]
            self.builder.call(self.products[product.spec], [*pointers, workspace])

    def _leaf(self, instruction: Instruction) -> None:
        """A call of a hand-written kernel."""
        leaf = instruction.params["leaf"]
        if leaf not in self.functions:
            name = f"leaf{len(self.functions)}"
            leaf.emit(self.module, name, self.target)
            self._internal(leaf, name)
        operands = [self._pointer(self._start(v)) for v in instruction.operands]
        results = [self._pointer(self._start(v)) for v in instruction.results]
        workspace = self._pointer(self.places[self.workspaces[instruction]])
        pointers = leaf.arguments(operands, results, workspace)
        assert self.builder is not None
        nothing = ir.Constant(POINTER, None)
        self.builder.call(self.functions[leaf], [nothing if p is None else p for p in pointers])

    def _start(self, value: Value) -> Place:
        """Where the first element of a value lies."""
        layout = self.layouts[value]
        assert value.dtype is not None
        return _moved(self.places[layout.base], layout.offset * value.dtype.itemsize)

    def _cat(self, instruction: Instruction) -> None:
        """A copy of each part to its place."""
        result, dim = instruction.result, instruction.params["dim"]
        begin = 0
        for part in instruction.operands:
            if part.size:
                self._copy(part, result, begin * self.layouts[result].strides[dim])
            begin += part.shape[dim]

    def _copy(self, part: Value, whole: Value, offset: int) -> None:
        """Write a value into the memory of a larger one."""
        assert part.dtype is not None
        constant = self.makers.get(self.layouts[part].base)
        if constant is not None and constant.opcode == "constant":
            read: Any = Constant(constant.params["value"], part.dtype.name)
            slots: tuple[str, ...] = ()
            places: list[Place] = []
        else:
            layout = self.layouts[part]
            read = Load(Access(0, layout.strides, layout.offset))
            slots, places = (part.dtype.name,), [self.places[layout.base]]
        store = Store(Access(len(slots), self.layouts[whole].strides, offset), read)
        kernel = Kernel(part.shape, (*slots, part.dtype.name), (), (store,), ())
        self._run(kernel, [*places, self.places[whole]])

    def _product_and_loop(self, group: Group, instruction: Instruction, stored: set[Value]) -> None:
        """A product whose tiles are finished by a loop."""
        kernel, buffers = kernel_of(group, self.layouts, self.makers, self.places, stored)
        product = product_of(instruction, self.layouts)
        key = (product.spec, kernel)
        if key not in self.functions:
            name = f"product_loop{len(self.functions)}"
            emit_product(self.module, name, product.spec, kernel, self.target)
            self._internal(key, name)
        self.kernels.append((group, kernel))
        assert self.builder is not None and instruction.result.dtype is not None
        ((start_a, start_b, _),) = product.starts
        size = instruction.result.dtype.itemsize
        bases = operand_bases(instruction, self.layouts)
        operands = [
            self._pointer(_moved(self.places[base], start * size))
            for base, start in zip(bases, (start_a, start_b), strict=True)
        ]
        packed = self.places[self.workspaces[instruction]]
        partial = _moved(packed, -(-workspace_size(product.spec, self.target) * size // 64) * 64)
        scratch = [self._pointer(partial), self._pointer(packed)]
        slots = [self._pointer(place) for place in buffers]
        self.builder.call(self.functions[key], [*operands, *scratch, *slots])

    def _internal(self, key: Any, name: str) -> None:
        """Remember a function of the module that is called from nowhere else."""
        self.functions[key] = self.module.get_global(name)
        self.functions[key].linkage = "internal"
        self.functions[key].attributes.add("noinline")


def _moved(place: Place, offset: int) -> Place:
    return place[0], place[1] + offset


__all__ = ["FIRST_INPUT", "STATUS_SLOT", "Assembled", "Assembler", "Place"]
