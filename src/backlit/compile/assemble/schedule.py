"""The order in which groups run, and where the values that must be in memory lie.

A group runs after those whose results it takes. What is written to the outside is written in place where all who still
need the old contents can run before. Among groups that could run next, one that takes what was made last goes first:
its operands are in the cache, and an optimizer's update follows the gradient that it consumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...memory import LINE
from ..ir.layout import Layout, is_row_major
from ..ir.program import Program, Value
from ..loops.groups import Group
from ..passes.dead_code import has_effect
from .reuse import reused

_NEAR_THE_END = 2
"""Groups with so few others behind them (a weight gradient and its update) run as soon as they can, those with the
fewest first: what they take is in the cache, and its memory is free earlier, for what comes next to be made in."""


class Schedule(NamedTuple):
    """Groups in order, and for each write whether it happens in place (the value is made in the input's memory)."""

    groups: list[Group]
    in_place: dict[Value, Value]
    """By the value that is written: the input, or slice of an input, whose memory it is made in."""
    stored: set[Value]
    """Values that must be in memory: other groups take them, or they are results."""


class _Order:
    def __init__(self, program: Program, groups: list[Group], layouts: dict[Value, Layout]) -> None:
        self.program = program
        self.groups = groups
        self.layouts = layouts
        self.maker = {v: group for group in groups for m in group.members for v in m.results}
        self.position = {instruction: i for i, instruction in enumerate(program.body)}
        self.readers: dict[Value, list[Group]] = {}
        self.before: dict[Group, dict[Group, None]] = {group: {} for group in groups}
        for group in groups:
            for root in self.taken(group):
                self.readers.setdefault(root, []).append(group)
                maker = self.maker.get(root)
                if maker is not None:
                    self.before[group][maker] = None
            self._wait(group)
        self._keep_effects_in_order()

    def _wait(self, group: Group) -> None:
        """What is made again for a later user waits for that one's other operand."""
        for member in group.members:
            other = member.params.get("after")
            maker = self.maker.get(self.layouts[other].base) if other in self.layouts else None
            if maker is not None:
                self.before[group][maker] = None

    def _keep_effects_in_order(self) -> None:
        """Calls that draw random numbers run in the order of the program, after all checks."""
        last: Group | None = None
        for group in sorted(self.groups, key=lambda g: self.position[g.members[0]]):
            if group.members[0].opcode == "extern" and has_effect(group.members[0]):
                for before in [*self.checks, *([last] if last else [])]:
                    if not self._reaches(before, group):
                        self.before[group][before] = None
                last = group

    def _reaches(self, group: Group, target: Group) -> bool:
        return not self.can_wait(target, [group])

    def taken(self, group: Group) -> dict[Value, None]:
        """What a group reads from memory: the values behind its operands, save those it makes itself."""
        own = {v for m in group.members for v in m.results}
        roots = [self.layouts[o].base for m in group.members for o in m.operands]
        return dict.fromkeys(r for r in roots if r not in own)

    @property
    def checks(self) -> list[Group]:
        """What must hold before anything is written."""
        return [group for group in self.groups if group.members[0].opcode == "require"]

    @property
    def calls(self) -> list[Group]:
        """Calls of Python functions, which may raise. Nothing is written before them."""
        return [group for group in self.groups if group.members[0].opcode == "extern"]

    def can_wait(self, group: Group, others: list[Group]) -> bool:
        """Whether a group may run after all of ``others``: none of them needs anything that it makes."""
        waiting, stack = set(others), list(others)
        while stack:
            for before in self.before[stack.pop()]:
                if before is group:
                    return False
                if before not in waiting:
                    waiting.add(before)
                    stack.append(before)
        return True

    def write_in_place(self) -> dict[Value, Value]:
        """Writes whose value can be made where it belongs; the readers of the old contents go first."""
        found: dict[Value, Value] = {}
        results = [self.layouts[v].base for v in self.program.outputs]
        for target, value in self.program.writes:
            group = self.maker.get(value)
            held = self.layouts[target]
            moved = group is not None and group.members[0].opcode == "move"
            whole = self.layouts[value].base is value and (moved or is_row_major(target.shape, held.strides))
            if group is None or group.space is None or not whole or value in found or held.base in results:
                continue
            if not self._same_place(group, target, value):
                continue
            others = [g for g in (*self.readers.get(held.base, ()), *self.checks, *self.calls) if g is not group]
            if self.can_wait(group, others):
                for other in others:
                    self.before[group][other] = None
                found[value] = target
                self.layouts[value] = Layout(value, held.strides)
        return found

    def _same_place(self, group: Group, target: Value, value: Value) -> bool:
        """Whether a group reads each old element only where it writes the new one."""
        held = self.layouts[target]
        if any(value in m.results and m.opcode == "reduce" for m in group.members):
            return held.base not in self.taken(group)
        return all(
            self.layouts[o] == held and o.shape == group.space
            for m in group.members
            for o in m.operands
            if self.layouts[o].base is held.base
        )

    def sorted(self) -> list[Group]:
        after: dict[Group, list[Group]] = {}
        missing = {}
        for group, befores in self.before.items():
            missing[group] = len(befores)
            for before in befores:
                after.setdefault(before, []).append(group)
        first = {group: min(self.position[m] for m in group.members) for group in self.groups}
        made: dict[Group, int] = {}
        checked = self._checked()
        left = self._left(after)
        ready = [group for group in self.groups if not missing[group]]
        order: list[Group] = []
        while ready:
            group = min(
                ready,
                key=lambda g: (
                    g not in checked,
                    min(left[g], _NEAR_THE_END + 1),
                    -max([made[b] for b in self.before[g]], default=-1),
                    first[g],
                ),
            )
            ready.remove(group)
            made[group] = len(order)
            order.append(group)
            for following in after.get(group, ()):
                missing[following] -= 1
                if not missing[following]:
                    ready.append(following)
        return order

    def _left(self, after: dict[Group, list[Group]]) -> dict[Group, int]:
        """How many groups follow each one, at most, until nothing more follows."""
        found: dict[Group, int] = {}
        missing = {group: len(after.get(group, ())) for group in self.groups}
        ready = [group for group in self.groups if not missing[group]]
        while ready:
            group = ready.pop()
            found[group] = 1 + max((found[following] for following in after.get(group, ())), default=-1)
            for before in self.before[group]:
                missing[before] -= 1
                if not missing[before]:
                    ready.append(before)
        return found

    def _checked(self) -> set[Group]:
        """Checks and what they need. They run first: updates wait for them, and their gradients should not."""
        found, stack = set(self.checks), self.checks
        while stack:
            more = [before for before in self.before[stack.pop()] if before not in found]
            found.update(more)
            stack += more
        return found


def schedule(program: Program, groups: list[Group], layouts: dict[Value, Layout]) -> Schedule:
    """Put the groups of a program in order."""
    order = _Order(program, groups, layouts)
    in_place = order.write_in_place()
    arranged = order.sorted()
    stored = {root for group in groups for root in order.taken(group)}
    stored.update(layouts[v].base for v in program.results())
    stored.update(v for i in program.body if i.opcode == "leaf" for v in i.results)
    return Schedule(arranged, in_place, {v for v in stored if v in order.maker})


class Arena(NamedTuple):
    """Places of values in one block of memory: byte offsets, and its size."""

    offsets: dict[Value, int]
    size: int


def plan_arena(
    order: Schedule,
    times: dict[Group, int],
    program: Program,
    layouts: dict[Value, Layout],
    outside: set[Value],
    scratch: Mapping[Any, Value],
    strips: Mapping[Value, int],
    apart: int = 0,
) -> Arena:
    """Give each stored value a place that nobody else uses while it is needed; values ``outside`` have their own.

    ``times`` says when each group runs; groups with the same time may run at once. ``scratch`` is what instructions
    need while they run, by instruction or by one of its results. Of ``strips`` only so many rows are in memory at a
    time. Loops write into the place of an operand that they are the last to read. ``apart``: no place is used twice,
    and so many bytes stay free between any two, for tests that watch them.
    """
    lives = _lives(order, times, program, layouts, outside)
    for group, time in times.items():
        needing = [x for m in group.members for x in (m, *m.results)]
        lives.update({scratch[x]: (time, time) for x in needing if x in scratch})
    if apart:
        return packed(dict.fromkeys(lives, (0, len(times))), apart)
    short = {v: Value((rows, *v.shape[1:]), v.dtype) for v, rows in strips.items()}
    lives.update({short[v]: lives.pop(v) for v in strips})
    owners: dict[Value, Value] = {}
    for result, operand in reused(times, layouts, lives).items():
        owner = owners[result] = owners.get(operand, operand)
        lives[owner] = lives[owner][0], lives.pop(result)[1]
    arena = packed(lives)
    owners |= short
    arena.offsets.update({result: arena.offsets[owner] for result, owner in owners.items()})
    return arena


def packed(lives: dict[Value, tuple[int, int]], apart: int = 0) -> Arena:
    """Places for values that are needed from one time to another; values that are never needed at once may share.

    Values are placed from the largest to the smallest, each at the lowest place that is free for its whole life.
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Value, int] = {}
    size = 0
    for value in sorted(lives, key=lambda v: (-_bytes(v), v.number)):
        start, end = lives[value]
        offset = apart
        for low, high, born, dead in sorted(placed):
            if born <= end and start <= dead and low < offset + _bytes(value) + apart and offset < high:
                offset = -(-high // LINE) * LINE
        offsets[value] = offset
        placed.append((offset, offset + _bytes(value) + apart, start, end))
        size = max(size, offset + _bytes(value) + apart)
    return Arena(offsets, size)


def _lives(
    order: Schedule, times: dict[Group, int], program: Program, layouts: dict[Value, Layout], outside: set[Value]
) -> dict[Value, tuple[int, int]]:
    """When each value's place is first and last needed."""
    lives: dict[Value, tuple[int, int]] = {}
    for group, time in times.items():
        for member in group.members:
            for value in member.results:
                if value in order.stored and value not in outside:
                    lives[value] = (time, time)
            for operand in member.operands:
                base = layouts[operand].base
                if base in lives:
                    lives[base] = (lives[base][0], time)
    for value in program.results():
        base = layouts[value].base
        if base in lives:
            lives[base] = (lives[base][0], len(times))
    return lives


def _bytes(value: Value) -> int:
    return value.size * (value.dtype.itemsize if value.dtype is not None else 0)
