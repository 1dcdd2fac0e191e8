"""From a program to native code and the plan of its memory."""

from __future__ import annotations

from typing import NamedTuple

from ..codegen.engine import NativeCode, compile_object
from ..codegen.gemm import workspace_size
from ..codegen.gemm_plan import plan
from ..codegen.target import Target, host_target
from ..ir.layout import Layout, Strides
from ..ir.program import Instruction, Program, Value, verify
from ..loops.fusion import fuse
from ..passes.layouts import layouts_of, with_copies
from ..passes.operands import with_operands_in_memory
from ..passes.pipeline import optimised
from ..passes.results import with_moves, with_own_results
from ..runtime.disk_cache import cached
from .module import FIRST_INPUT, Assembled, Assembler, Place
from .products import product_of, unreadable
from .schedule import Arena, Schedule, plan_arena, schedule


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
    def clock_slot(self) -> int:
        """The table entry of the clock's readings."""
        return self.arena_slot + 1

    @property
    def arena_slot(self) -> int:
        """The table entry of the arena."""
        return FIRST_INPUT + len(self.program.inputs) + len(self.program.outputs)


def build(
    program: Program, strides: dict[Value, Strides], target: Target | None = None, clocked: bool = False
) -> Built:
    """Compile a program; ``strides`` (in elements) are those of inputs that are not row-major.

    ``clocked``: the code notes the processor's clock between groups, at the address in table entry ``clock_slot``.
    """
    target = target or host_target()
    program, layouts, order = _ordered(optimised(program), strides)
    places = _fixed_places(program, layouts, order)
    workspaces = _workspaces(program, layouts, target)
    arena = plan_arena(order, program, layouts, set(places), workspaces)
    slot = FIRST_INPUT + len(program.inputs) + len(program.outputs)
    places.update({value: (slot, offset) for value, offset in arena.offsets.items()})
    assembler = Assembler(program, layouts, places, workspaces, target, slot + 1 if clocked else None)
    assembled = assembler.assemble(order.groups, order.stored)
    text = str(assembled.module)
    code = NativeCode(cached(text, lambda: compile_object(text, target), target), assembled.entries)
    return Built(program, layouts, order, arena, places, assembled, code)


def _ordered(program: Program, strides: dict[Value, Strides]) -> tuple[Program, dict[Value, Layout], Schedule]:
    """The program with all copies that its views, products, outputs and writes need, and its groups in order."""
    program = with_copies(program, strides)
    program = with_operands_in_memory(program, layouts_of(program, strides), unreadable)
    program = verify(with_own_results(program, layouts_of(program, strides)))
    while True:
        layouts = layouts_of(program, strides)
        order = schedule(program, fuse(program, layouts), layouts)
        pending = [(target, value) for target, value in program.writes if order.in_place.get(value) is not target]
        if not pending:
            return program, layouts, order
        program = with_moves(program, pending)


def _fixed_places(program: Program, layouts: dict[Value, Layout], order: Schedule) -> dict[Value, Place]:
    """Inputs and outputs lie where the caller says, and what is written in place lies where its target does."""
    first = FIRST_INPUT
    places: dict[Value, Place] = {value: (first + i, 0) for i, value in enumerate(program.inputs)}
    for value, target in order.in_place.items():
        places[value] = places[target]
    first += len(program.inputs)
    for i, value in enumerate(program.outputs):
        places[layouts[value].base] = (first + i, 0)
    return places


def _workspaces(program: Program, layouts: dict[Value, Layout], target: Target) -> dict[Instruction, Value]:
    """The scratch memory of each product, as a value that lives while it runs."""
    found = {}
    for instruction in program.body:
        if instruction.opcode == "matmul":
            spec = product_of(instruction, layouts).spec
            size = workspace_size(spec, target) + (spec.m * spec.n + 64 if len(plan(spec, target).depths) > 1 else 0)
            found[instruction] = Value((size,), instruction.result.dtype, "workspace")
        elif instruction.opcode == "leaf":
            size = instruction.params["leaf"].workspace(target)
            found[instruction] = Value((size,), instruction.result.dtype, "workspace")
    return found


def externs(built: Built) -> list[Instruction]:
    """The calls of Python functions, in order."""
    return [part for part in built.assembled.sequence if isinstance(part, Instruction)]
