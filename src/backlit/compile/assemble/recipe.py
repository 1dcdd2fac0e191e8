"""A step as plain data: what runs in which order, with which native functions and pointers.

The recipe says everything that machine code is made from. Its text is short and quickly made, so that code that is kept
on disk is found without writing a line of LLVM.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..loops.fusion import Group
from .natives import Place, Task, moved
from .regions import Region, Way
from .tasks import Tasks


class Calls(NamedTuple):
    """Native functions, called one after the other."""

    tasks: tuple[Task, ...]


class Shared(NamedTuple):
    """The shares of a region, which the pool's threads do, and what is put together when all are done."""

    shares: tuple[tuple[Task, ...], ...]
    after: tuple[Task, ...]


class Check(NamedTuple):
    """A number that must be 0, or the step ends here."""

    place: Place
    dtype: str


class Reading(NamedTuple):
    """The processor's clock, written down."""

    place: Place


Piece = Calls | Shared | Check | Reading


class Recipe(NamedTuple):
    """Stretches of native code, each the body of one function, and what runs in which order: names of these functions
    and instructions that call Python."""

    stretches: dict[str, tuple[Piece, ...]]
    sequence: list[str | Instruction]

    @property
    def text(self) -> str:
        """Everything that code is made from; equal recipes have equal texts."""
        return repr(self.stretches)


def recipe_of(
    regions: list[Region],
    tasks: Tasks,
    layouts: dict[Value, Layout],
    places: dict[Value, Place],
    clock_slot: int | None = None,
) -> Recipe:
    """The recipe of a step.

    ``clock_slot``: the table entry of an array that takes the processor's clock before each region and at the end;
    without one nothing is measured.
    """
    recipe = Recipe({}, [])
    pieces: list[Piece] = []
    for i, region in enumerate([*regions, None]):
        if clock_slot is not None:
            pieces.append(Reading((clock_slot, 8 * i)))
        first = None if region is None else region.groups[0].members[0]
        if region is not None and first is not None and first.opcode != "extern":
            pieces.append(_piece(region, tasks, layouts, places))
            continue
        if pieces:
            name = f"step{len(recipe.stretches)}"
            recipe.stretches[name] = tuple(pieces)
            recipe.sequence.append(name)
            pieces.clear()
        if first is not None:
            recipe.sequence.append(first)
    return recipe


def _piece(region: Region, tasks: Tasks, layouts: dict[Value, Layout], places: dict[Value, Place]) -> Piece:
    first = region.groups[0].members[0]
    if first.opcode == "require":
        return _check(first, layouts, places)
    if not region.ways:
        return Calls(_together(map(tasks.whole, region.groups)))
    count = region.ways[0].shares.parts
    shares = [_together(tasks.share(g, way, part) for g, way in _pairs(region)) for part in range(count)]
    if region.strip is not None:
        return Calls(_together(map(list, shares)))
    return Shared(tuple(shares), _together(tasks.collect(g, way) for g, way in _pairs(region)))


def _check(instruction: Instruction, layouts: dict[Value, Layout], places: dict[Value, Place]) -> Check:
    (operand,) = instruction.operands
    layout = layouts[operand]
    assert operand.dtype is not None
    return Check(moved(places[layout.base], layout.offset * operand.dtype.itemsize), operand.dtype.name)


def _pairs(region: Region) -> Iterable[tuple[Group, Way]]:
    return zip(region.groups, region.ways, strict=True)


def _together(parts: Iterable[list[Task]]) -> tuple[Task, ...]:
    return tuple(task for part in parts for task in part)


__all__ = ["Calls", "Check", "Piece", "Reading", "Recipe", "Shared", "recipe_of"]
