"""The LLVM module of a step: its native functions, and functions that call them in order with pointers from a table.

The step is one function ``void step0(pointer table)`` where everything is native; calls of Python functions cut it into
``step0``, ``step1`` …. Entry ``i`` of the table is the address of buffer ``i``. A region that is shared out is a
function of its own, which the pool's threads call for its parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from ..codegen.target import Target
from ..codegen.values import DOUBLE, FLOAT
from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..runtime.pool_code import BODY_TYPE, I64, emit_parallel
from .natives import Native, Place, Task, moved
from .regions import Region
from .tasks import Tasks

POINTER = ir.PointerType()
BYTE = ir.IntType(8)

STATUS_SLOT = 0
"""The first entry of the table: the address of a number that is 0 unless an assumption of the program failed."""

CONTROL_SLOT = 1
"""The second: the address of the thread pool's control block."""

FIRST_INPUT = 2
"""Then inputs, outputs and the arena."""

_CLOCK = "llvm.readcyclecounter"


class Assembled(NamedTuple):
    """A module, the names of its entry points, and what runs in which order: names and extern instructions."""

    module: ir.Module
    entries: list[str]
    sequence: list[str | Instruction]


class _Body:
    """A function that takes the table and calls native functions."""

    def __init__(self, function: ir.Function) -> None:
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        table = function.args[0]
        self.table = table if table.type == POINTER else self.builder.bitcast(table, POINTER)
        self.pointers: dict[int, Any] = {}

    def entry(self, slot: int, kind: Any = POINTER) -> Any:
        """An entry of the table."""
        place = self.builder.gep(self.table, [ir.Constant(I64, slot)], source_etype=POINTER)
        return self.builder.load(place, typ=kind)

    def pointer(self, place: Place | None) -> Any:
        """The address of a place."""
        if place is None:
            return ir.Constant(POINTER, None)
        slot, offset = place
        if slot not in self.pointers:
            self.pointers[slot] = self.entry(slot)
        if not offset:
            return self.pointers[slot]
        return self.builder.gep(self.pointers[slot], [ir.Constant(I64, offset)], source_etype=BYTE)


class Assembler:
    """Writes the module."""

    def __init__(
        self,
        tasks: Tasks,
        layouts: dict[Value, Layout],
        places: dict[Value, Place],
        target: Target,
        clock_slot: int | None = None,
    ) -> None:
        """``clock_slot``: the table entry of an array that takes the processor's clock before each region and at the
        end; without one nothing is measured."""
        self.module = ir.Module("backlit")
        self.tasks = tasks
        self.layouts = layouts
        self.places = places
        self.target = target
        self.clock_slot = clock_slot
        self.functions: dict[Native, Any] = {}
        self.entries: list[str] = []
        self.sequence: list[str | Instruction] = []
        self.body: _Body | None = None

    def assemble(self, regions: list[Region]) -> Assembled:
        """Emit every region."""
        for i, region in enumerate(regions):
            first = region.groups[0].members[0]
            if self.clock_slot is not None:
                self._read_clock(self._open(), i)
            if first.opcode == "extern":
                self._close()
                self.sequence.append(first)
            elif first.opcode == "require":
                self._require(self._open(), first)
            elif region.ways:
                self._shared(self._open(), region, f"region{i}")
            else:
                for group in region.groups:
                    self._call(self._open(), self.tasks.whole(group))
        if self.clock_slot is not None:
            self._read_clock(self._open(), len(regions))
        self._close()
        return Assembled(self.module, self.entries, self.sequence)

    def _open(self) -> _Body:
        if self.body is None:
            name = f"step{len(self.entries)}"
            self.body = _Body(ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name))
            self.entries.append(name)
            self.sequence.append(name)
        return self.body

    def _close(self) -> None:
        if self.body is not None:
            self.body.builder.ret_void()
            self.body = None

    def _read_clock(self, body: _Body, i: int) -> None:
        assert self.clock_slot is not None
        kind = ir.FunctionType(I64, [])
        clock = self.module.globals.get(_CLOCK) or ir.Function(self.module, kind, _CLOCK)
        body.builder.store(body.builder.call(clock, []), body.pointer((self.clock_slot, 8 * i)))

    def _require(self, body: _Body, check: Instruction) -> None:
        """Report and return where the operand is not 0."""
        (operand,) = check.operands
        assert operand.dtype is not None
        builder, layout = body.builder, self.layouts[operand]
        element = FLOAT if operand.dtype.itemsize == 4 else DOUBLE
        place = moved(self.places[layout.base], layout.offset * operand.dtype.itemsize)
        value = builder.load(body.pointer(place), typ=element)
        wrong = builder.fcmp_unordered("!=", value, ir.Constant(element, 0.0))
        status = body.pointer((STATUS_SLOT, 0))
        with builder.if_then(wrong, likely=False):
            builder.store(ir.Constant(I64, 1), status)
            builder.ret_void()

    def _call(self, body: _Body, tasks: list[Task]) -> None:
        """Call native functions one after the other."""
        for native, places in tasks:
            body.builder.call(self._function(native), [body.pointer(place) for place in places])

    def _function(self, native: Native) -> Any:
        """The function of a native, emitted when it is first wanted."""
        if native not in self.functions:
            name = f"{type(native).__name__.lower()}{len(self.functions)}"
            native.emit(self.module, name, self.target)
            made = self.functions[native] = self.module.get_global(name)
            made.linkage = "internal"
            made.attributes.add("noinline")
        return self.functions[native]

    def _shared(self, body: _Body, region: Region, name: str) -> None:
        """Let the pool's threads do the shares of a region, and put together what they give parts of."""
        control = body.builder.inttoptr(body.entry(CONTROL_SLOT, I64), I64.as_pointer())
        table = body.builder.bitcast(body.table, BODY_TYPE.args[0])
        emit_parallel(body.builder, control, self._shares(region, name), table, region.parts)
        for group, way in zip(region.groups, region.ways, strict=True):
            self._call(body, self.tasks.collect(group, way))

    def _shares(self, region: Region, name: str) -> ir.Function:
        """The function that does one share of a region."""
        function = ir.Function(self.module, BODY_TYPE, name)
        function.linkage = "internal"
        body = _Body(function)
        builder = body.builder
        nothing = function.append_basic_block("none")
        switch = builder.switch(function.args[1], nothing)
        for part in range(region.parts):
            block = function.append_basic_block(f"share{part}")
            switch.add_case(ir.Constant(I64, part), block)
            builder.position_at_end(block)
            body.pointers = {}
            for group, way in zip(region.groups, region.ways, strict=True):
                self._call(body, self.tasks.share(group, way, part))
            builder.ret_void()
        builder.position_at_end(nothing)
        builder.ret_void()
        return function


__all__ = ["CONTROL_SLOT", "FIRST_INPUT", "STATUS_SLOT", "Assembled", "Assembler"]
