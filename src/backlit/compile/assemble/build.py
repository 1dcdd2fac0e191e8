"""From a program to native code and the plan of its memory."""

from __future__ import annotations

from typing import NamedTuple

from ..codegen.engine import NativeCode, compile_object
from ..codegen.target import Target, host_target
from ..ir.layout import Layout, Strides
from ..ir.program import Instruction, Program, Value, verify
from ..loops.fusion import fuse
from ..passes.layouts import layouts_of, with_copies
from ..passes.operands import with_operands_in_memory
from ..passes.pipeline import optimised
from ..passes.results import with_moves, with_own_results
from ..runtime.disk_cache import cached
from .module import Assembled, Assembler, Place
from .products import needs_copy
from .schedule import Arena, Schedule, plan_arena, schedule

GEMM_SLOTS = {"float32": 0, "float64": 1}
"""The first entries of the table: the addresses of BLAS's products."""


class Built(NamedTuple):
    """Everything there is to know about a compiled program.

    Attributes:
        program: after all passes; inputs and outputs are in the order of the program that was given.
        layouts: where each value's elements lie.
        order: the groups, in order.
        arena: the plan of the memory between inputs and outputs.
        places: the table entry and offset of each value that has a place in memory.
        assembled: the LLVM module and what runs in which order.
        code: the loaded object.
    """

    program: Program
    layouts: dict[Value, Layout]
    order: Schedule
    arena: Arena
    places: dict[Value, Place]
    assembled: Assembled
    code: NativeCode

    @property
    def arena_slot(self) -> int:
        """The table entry of the arena."""
        return len(GEMM_SLOTS) + len(self.program.inputs) + len(self.program.outputs)


def build(program: Program, strides: dict[Value, Strides], target: Target | None = None) -> Built:
    """Compile a program; ``strides`` (in elements) are those of inputs that are not row-major."""
    target = target or host_target()
    program, layouts, order = _ordered(optimised(program), strides)
    places = _fixed_places(program, layouts, order)
    arena = plan_arena(order, program, layouts, set(places))
    slot = len(GEMM_SLOTS) + len(program.inputs) + len(program.outputs)
    places.update({value: (slot, offset) for value, offset in arena.offsets.items()})
    assembler = Assembler(program, layouts, places, GEMM_SLOTS, target)
    assembled = assembler.assemble(order.groups, order.stored)
    text = str(assembled.module)
    code = NativeCode(cached(text, lambda: compile_object(text, target), target), assembled.entries)
    return Built(program, layouts, order, arena, places, assembled, code)


def _ordered(program: Program, strides: dict[Value, Strides]) -> tuple[Program, dict[Value, Layout], Schedule]:
    """The program with all copies that its views, products, outputs and writes need, and its groups in order."""
    program = with_copies(program, strides)
    program = with_operands_in_memory(program, layouts_of(program, strides), needs_copy)
    program = verify(with_own_results(program, layouts_of(program, strides)))
    while True:
        layouts = layouts_of(program, strides)
        order = schedule(program, fuse(program), layouts)
        pending = [(target, value) for target, value in program.writes if order.in_place.get(value) is not target]
        if not pending:
            return program, layouts, order
        program = with_moves(program, pending)


def _fixed_places(program: Program, layouts: dict[Value, Layout], order: Schedule) -> dict[Value, Place]:
    """Inputs and outputs lie where the caller says, and what is written in place lies where its target does."""
    first = len(GEMM_SLOTS)
    places: dict[Value, Place] = {value: (first + i, 0) for i, value in enumerate(program.inputs)}
    for value, target in order.in_place.items():
        places[value] = places[target]
    first += len(program.inputs)
    for i, value in enumerate(program.outputs):
        places[layouts[value].base] = (first + i, 0)
    return places


def externs(built: Built) -> list[Instruction]:
    """The calls of Python functions, in order."""
    return [part for part in built.assembled.sequence if isinstance(part, Instruction)]
