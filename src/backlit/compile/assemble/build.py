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
from ..passes.partial_writes import with_partial_writes
from ..passes.pipeline import optimised
from ..passes.results import with_moves, with_own_results
from ..runtime.disk_cache import cached
from .frame import FIRST_INPUT, Frame
from .module import emit_module
from .natives import Place, moved
from .products import unreadable
from .recipe import Recipe, recipe_of
from .regions import Region, regions_of
from .schedule import Arena, Schedule, plan_arena, schedule
from .scratch import scratch_of
from .strips import with_strips
from .tasks import Tasks


class Built(NamedTuple):
    """Everything there is to know about a compiled program.

    Attributes:
        program: after all passes; inputs and outputs are in the order of the program that was given.
        layouts: where each value's elements lie.
        order: the groups, in order.
        regions: the same groups, those together that run without waiting for other threads.
        arena: the plan of the memory between inputs and outputs.
        places: the table entry and offset of each value that has a place in memory.
        recipe: what the code was made from, and what runs in which order.
        code: the loaded object.
    """

    program: Program
    layouts: dict[Value, Layout]
    order: Schedule
    regions: list[Region]
    arena: Arena
    places: dict[Value, Place]
    recipe: Recipe
    code: NativeCode

    @property
    def frame(self) -> Frame:
        """What a call needs to know of it."""
        outputs = [(v.shape, v.dtype) for v in self.program.outputs]
        shared = any(region.parts > 1 for region in self.regions)
        sequence = self.recipe.sequence
        return Frame(len(self.program.inputs), outputs, self.arena.size, len(self.regions), shared, sequence, self.code)

    def whole(self) -> Built:
        """Itself; a :class:`~.stored.Stored` one has to be built first."""
        return self


def build(
    program: Program,
    strides: dict[Value, Strides],
    target: Target | None = None,
    clocked: bool = False,
    threads: int = 1,
    apart: int = 0,
) -> Built:
    """Compile a program; ``strides`` (in elements) are those of inputs that are not row-major.

    ``clocked``: the code notes the processor's clock between regions, at the address in table entry ``clock_slot``.
    ``threads``: into how many shares the work of regions is cut.
    ``apart``: values in the arena share no memory, and so many bytes between them stay free; see :func:`plan_arena`.
    """
    target = target or host_target()
    program, layouts, order = _ordered(optimised(program, threads), strides)
    makers = program.makers()
    places = _fixed_places(program, layouts, order)
    regions = regions_of(order, layouts, makers, threads)
    if threads == 1:
        regions = with_strips(regions, order, layouts, makers, places)
    scratch = scratch_of(regions, layouts, target)
    times = {group: i for i, region in enumerate(regions) for group in region.groups}
    strips = {r.strip: r.ways[0].shares.step for r in regions if r.strip is not None}
    arena = plan_arena(order, times, program, layouts, set(places), scratch, strips, apart)
    slot = FIRST_INPUT + len(program.inputs) + len(program.outputs)
    places.update({value: (slot, offset) for value, offset in arena.offsets.items()})
    tasks = Tasks(layouts, makers, places, order.stored, scratch, target)
    recipe = recipe_of(regions, tasks, layouts, places, slot + 1 if clocked else None)
    made = cached(recipe.text, lambda: compile_object(emit_module(recipe, target), target), target)
    return Built(program, layouts, order, regions, arena, places, recipe, NativeCode(made, recipe.stretches))


def _ordered(program: Program, strides: dict[Value, Strides]) -> tuple[Program, dict[Value, Layout], Schedule]:
    """The program with all copies that its views, products, outputs and writes need, and its groups in order."""
    program = with_copies(with_partial_writes(program), strides)
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
        held = layouts[target]
        assert target.dtype is not None
        places[value] = moved(places[held.base], held.offset * target.dtype.itemsize)
    first += len(program.inputs)
    for i, value in enumerate(program.outputs):
        places[layouts[value].base] = (first + i, 0)
    return places


def externs(built: Built) -> list[Instruction]:
    """The calls of Python functions, in order."""
    return [part for part in built.recipe.sequence if isinstance(part, Instruction)]
