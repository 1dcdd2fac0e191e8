"""Which instructions share a loop.

Instructions are taken from the last to the first. One that computes over the same index space as a loop that takes its
result, element by element, joins that loop: the value then lives in a register, and is stored only where somebody else
needs it. Among several loops it joins the one that runs first, and none where that would make two loops wait for each
other. So values are computed as late as possible, next to where they are used; unless fewer must be kept when they are
computed early (:mod:`.early`). Then products join the loops that finish them, and in the end loops that read the same
values over the same space are put together.
"""

from __future__ import annotations

from typing import Any

from ..ir.layout import VIEWS, Layout, broadcast_strides
from ..ir.primitives import MEANING
from ..ir.program import Instruction, Program, Value
from .early import compute_early
from .groups import FREE, Group

STREAMS = 2
"""Arrays of a product's size that a loop on its tiles may read. Tiles touch memory in short pieces of many rows; a loop
that reads more (an optimizer's update) is quicker by itself, straight through, unless it has to wait for memory."""

_MANY, _FAR, _SHALLOW = 4, 512 * 1024, 512
"""Arrays that it may read if each has so many bytes, more than stay in a near cache from step to step, and the product
adds up at most so much for an element, in one run: they come from memory in the meantime. Measured with Adam."""

LONG = frozenset({"exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "tanh", "erf", "erfc", "pow", "sin", "cos"})
"""Functions of many instructions. After the tiles of a product, whose registers they would have to share, they take
longer than in a loop of their own."""


def in_loops(instruction: Instruction) -> bool:
    """Whether an instruction is computed by a loop over elements."""
    return instruction.opcode in MEANING or instruction.opcode in ("cast", "copy", "move", "reduce")


def space_of(instruction: Instruction) -> tuple[int, ...]:
    """The index space that a loop instruction runs over."""
    return instruction.operands[0].shape if instruction.opcode == "reduce" else instruction.result.shape


def fuse(program: Program, layouts: dict[Value, Layout]) -> list[Group]:
    """The groups of a program, in no particular order; views and constants belong to none."""
    return _Fusion(program, layouts).run()


def _streams(product: Instruction) -> int:
    """How many arrays of a product's size a loop on its tiles may read."""
    result, depth = product.result, product.operands[0].shape[-1]
    assert result.dtype is not None
    return _MANY if depth <= _SHALLOW and result.size * result.dtype.itemsize >= _FAR else STREAMS


class _Fusion:
    def __init__(self, program: Program, layouts: dict[Value, Layout]) -> None:
        self.program = program
        self.layouts = layouts
        self.makers = program.makers()
        self.position = {instruction: i for i, instruction in enumerate(program.body)}
        self.group: dict[Instruction, Group] = {}
        self.users: dict[Value, list[tuple[Instruction, bool]]] = {}
        for instruction in program.body:
            if instruction.opcode not in VIEWS:
                for operand in instruction.operands:
                    root = self.root(operand)
                    self.users.setdefault(root, []).append((instruction, root is operand))

    def root(self, value: Value) -> Value:
        """The value that a view looks at."""
        maker = self.makers.get(value)
        while maker is not None and maker.opcode in VIEWS:
            value = maker.operands[0]
            maker = self.makers.get(value)
        return value

    def run(self) -> list[Group]:
        for instruction in reversed(self.program.body):
            if instruction.opcode in VIEWS or instruction.opcode in FREE:
                continue
            group = self.joinable(instruction)
            if group is None and not in_loops(instruction):
                self.group[instruction] = Group([instruction], None)
                continue
            if group is None:
                group = Group([], space_of(instruction))
            group.members.insert(0, instruction)
            self.group[instruction] = group
        compute_early(self)
        self.join_products()
        self.merge()
        return list(dict.fromkeys(self.group[i] for i in self.program.body if i in self.group))

    def joinable(self, instruction: Instruction) -> Group | None:
        """The loop that an instruction joins, if there is one."""
        if instruction.opcode == "reduce" or not in_loops(instruction):
            return None
        users = self.users.get(instruction.result, [])
        if any(user.opcode == "move" for user, _ in users):
            return None  # a move runs by itself: what it reads and where it writes may overlap otherwise
        groups = list(dict.fromkeys(self.group[user] for user, _ in users))
        for group in groups:
            if group.space != instruction.result.shape:
                continue
            inside = [direct for user, direct in users if self.group[user] is group]
            others = [other for other in groups if other is not group]
            if all(inside) and not any(self.waits_for(group, other) for other in others):
                return group
        return None

    def join_products(self) -> None:
        """Let products be finished by the loops that alone take their results."""
        for product in reversed(self.program.body):
            if product.opcode != "matmul":
                continue
            users = self.users.get(product.result, [])
            groups = list(dict.fromkeys(self.group[user] for user, _ in users))
            if len(groups) == 1 and all(direct for _, direct in users) and self.takes_product(groups[0], product):
                groups[0].members.insert(0, product)
                self.group[product] = groups[0]

    def takes_product(self, group: Group, product: Instruction) -> bool:
        """Whether a loop can run on the tiles of a product: it has none yet, and walks along rows as tiles do."""
        if product.result.ndim != 2 or group.space != product.result.shape:
            return False
        if any(m.opcode in ("matmul", "move") for m in group.members):
            return False
        own = {v for m in group.members for v in m.results}
        streams = {self.root(o) for m in group.members for o in m.operands if o.shape == group.space}
        if len(streams - own) - 1 > _streams(product):
            return False
        for member in group.members:
            if member.opcode in LONG:
                return False
            if any(v.dtype != product.result.dtype and v.kind != "b" for v in (*member.operands, *member.results)):
                return False
            for operand in member.operands:
                if operand not in own and operand is not product.result:
                    layout = self.layouts[operand]
                    if broadcast_strides(operand.shape, layout.strides, group.space or ())[-1] not in (0, 1):
                        return False
        return True

    def waits_for(self, group: Group, other: Group) -> bool:
        """Whether ``group`` needs, directly or not, something that ``other`` makes."""
        seen, stack = {group}, [group]
        while stack:
            for before in self.needed(stack.pop()):
                if before is other:
                    return True
                if before not in seen:
                    seen.add(before)
                    stack.append(before)
        return False

    def needed(self, group: Group) -> set[Group]:
        """The groups whose results a group takes, as far as instructions have been put in groups."""
        found = set()
        for member in group.members:
            for operand in member.operands:
                maker = self.makers.get(self.root(operand))
                before = self.group.get(maker) if maker is not None else None
                if before is not None and before is not group:
                    found.add(before)
        return found

    def merge(self) -> None:
        """Put loops together that run over the same space and share something that they read."""
        readers: dict[Any, list[Group]] = {}
        for group in dict.fromkeys(self.group[i] for i in self.program.body if i in self.group):
            if group.space is None or group.members[0].opcode == "move":
                continue
            if any(m.opcode == "matmul" for m in group.members):
                continue
            roots = {self.root(o) for m in group.members for o in m.operands if o.shape == group.space}
            for root in sorted(roots, key=lambda v: v.number):
                if root in self.makers and self.makers[root].opcode in FREE:
                    continue
                for other in readers.get((root, group.space), []):
                    if self.group[other.members[0]] is other and other is not group and self.may_merge(other, group):
                        self.put_together(other, group)
                        group = other
                        break
                readers.setdefault((root, group.space), []).append(group)

    def may_merge(self, a: Group, b: Group) -> bool:
        """Whether neither waits for the other, except for values handed on element by element."""
        return not self.waits_for(a, b) and not self.waits_for(b, a)

    def put_together(self, a: Group, b: Group) -> None:
        a.members = sorted([*a.members, *b.members], key=self.position.__getitem__)
        for member in b.members:
            self.group[member] = a
