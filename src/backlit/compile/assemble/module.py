"""The LLVM module of a step: its native functions, and functions that call them in order with pointers from a table.

The step is one function ``void step0(pointer table)`` where everything is native; calls of Python functions cut it into
``step0``, ``step1`` …. Entry ``i`` of the table is the address of buffer ``i``. A region that is shared out is a
function of its own, which the pool's threads call for its parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir

from ..codegen.target import Target
from ..codegen.values import DOUBLE, FLOAT
from ..runtime.pool_code import BODY_TYPE, I64, emit_parallel
from .frame import CONTROL_SLOT, STATUS_SLOT
from .natives import Native, Place, Task
from .recipe import Calls, Check, Piece, Reading, Recipe, Shared

POINTER = ir.PointerType()
BYTE = ir.IntType(8)

_CLOCK = "llvm.readcyclecounter"


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


def emit_module(recipe: Recipe, target: Target) -> ir.Module:
    """The module of a recipe."""
    return _Module(target).emit(recipe)


class _Module:
    def __init__(self, target: Target) -> None:
        self.module = ir.Module("backlit")
        self.target = target
        self.functions: dict[Native, Any] = {}

    def emit(self, recipe: Recipe) -> ir.Module:
        for name, pieces in recipe.stretches.items():
            body = _Body(ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name))
            for i, piece in enumerate(pieces):
                self._piece(body, piece, f"{name}.region{i}")
            body.builder.ret_void()
        return self.module

    def _piece(self, body: _Body, piece: Piece, name: str) -> None:
        if isinstance(piece, Calls):
            self._call(body, piece.tasks)
        elif isinstance(piece, Shared):
            self._shared(body, piece, name)
        elif isinstance(piece, Check):
            self._check(body, piece)
        else:
            self._read_clock(body, piece)

    def _read_clock(self, body: _Body, reading: Reading) -> None:
        clock = self.module.globals.get(_CLOCK) or ir.Function(self.module, ir.FunctionType(I64, []), _CLOCK)
        body.builder.store(body.builder.call(clock, []), body.pointer(reading.place))

    def _check(self, body: _Body, check: Check) -> None:
        """Report and return where the number is not 0."""
        builder = body.builder
        element = FLOAT if check.dtype == "float32" else DOUBLE
        value = builder.load(body.pointer(check.place), typ=element)
        wrong = builder.fcmp_unordered("!=", value, ir.Constant(element, 0.0))
        status = body.pointer((STATUS_SLOT, 0))  # here, where it is known to all that follows
        with builder.if_then(wrong, likely=False):
            builder.store(ir.Constant(I64, 1), status)
            builder.ret_void()

    def _call(self, body: _Body, tasks: Iterable[Task]) -> None:
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

    def _shared(self, body: _Body, shared: Shared, name: str) -> None:
        """Let the pool's threads do the shares of a region, and put together what they give parts of."""
        control = body.builder.inttoptr(body.entry(CONTROL_SLOT, I64), I64.as_pointer())
        table = body.builder.bitcast(body.table, BODY_TYPE.args[0])
        emit_parallel(body.builder, control, self._shares(shared, name), table, len(shared.shares))
        self._call(body, shared.after)

    def _shares(self, shared: Shared, name: str) -> ir.Function:
        """The function that does one share of a region."""
        function = ir.Function(self.module, BODY_TYPE, name)
        function.linkage = "internal"
        body = _Body(function)
        nothing = function.append_basic_block("none")
        switch = body.builder.switch(function.args[1], nothing)
        for part, tasks in enumerate(shared.shares):
            block = function.append_basic_block(f"share{part}")
            switch.add_case(ir.Constant(I64, part), block)
            body.builder.position_at_end(block)
            body.pointers = {}
            self._call(body, tasks)
            body.builder.ret_void()
        body.builder.position_at_end(nothing)
        body.builder.ret_void()
        return function


__all__ = ["emit_module"]
