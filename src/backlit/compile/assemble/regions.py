"""Which groups run together without waiting, and how the work of each is shared out among threads.

A *region* is a run of groups shared out along axes that belong together: each share of a later group needs, of what is
made inside the region, only what the same share of the earlier ones has made, as the rows of a batch do through forward
pass, loss and backward-data, or the rows of a weight through its gradient and its optimizer's update. So a thread takes
one share through all groups of a region, and waits for the others only at the region's end.

Groups stay in the order of the schedule; each joins the region before it if one of its axes allows that and no other
axis is so much better that waiting pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..ir.layout import Layout, broadcast_strides
from ..ir.program import Instruction, Value
from ..leaves.leaf import by_positions, written_by
from ..loops.groups import Group
from .costs import BARRIER, repacking, work
from .cuts import Cut, Shares, cut_of, shares
from .products import matrix_strides
from .schedule import Schedule

WORTH_SHARING = 8_000.0
"""Nanoseconds of work in a region from which on it is shared out."""

WORTH_THREADS = 60_000.0
"""Nanoseconds of work that can be shared out in a step from which on its regions are."""

LONG_ENOUGH = 10_000_000.0
"""Nanoseconds of work from which on a region ends: all that is made in one takes memory at once, and a wait after so
much work costs little."""

_NEIGHBOURS = 16
"""Shares along an axis whose elements lie side by side are multiples of so many: a cache line, and whole vectors."""

_MOST_PARTIAL = 1 << 18
"""Elements of a reduction's result that each share may hold a copy of."""


class Way(NamedTuple):
    """One way to share out a group.

    Attributes:
        axis: of the group's index space that is shared out.
        shares: how.
        reads: how each block of memory that is read is cut; None where any share may read anything.
        writes: the same for what is written; None for results that are put together when all shares are done.
        inside: inputs of which a part is written, which is a block of its own in ``writes``.
        partial: those results.
        penalty: nanoseconds of work that this way adds.
        strip: one thread does share after share, and of this value only a share is in memory; see :mod:`.strips`.
    """

    axis: int
    shares: Shares
    reads: dict[Value, set[Cut | None]]
    writes: dict[Value, Cut | None]
    inside: frozenset[Value]
    partial: tuple[Value, ...]
    penalty: float
    strip: Value | None = None

    @property
    def touched(self) -> set[Value]:
        """All that is read or written."""
        return {*self.reads, *self.writes}


class Region(NamedTuple):
    """Groups that run together. ``ways`` says how each is shared out; empty where one thread does all of one group."""

    groups: list[Group]
    ways: list[Way]

    @property
    def strip(self) -> Value | None:
        """What is in memory by shares, which one thread does one after the other."""
        return self.ways[0].strip if self.ways else None

    @property
    def parts(self) -> int:
        """The number of shares that may be done at once."""
        return self.ways[0].shares.parts if self.ways and self.strip is None else 1


def regions_of(
    order: Schedule, layouts: dict[Value, Layout], makers: dict[Value, Instruction], threads: int
) -> list[Region]:
    """The regions of a step that runs on so many threads, in order."""
    alone = [Region([group], []) for group in order.groups]
    if threads == 1:
        return alone
    found = _Regions(order, layouts, makers, threads).run()
    shared = sum(sum(map(work, region.groups)) for region in found if region.ways)
    return found if shared >= WORTH_THREADS else alone


class _Regions:
    def __init__(
        self, order: Schedule, layouts: dict[Value, Layout], makers: dict[Value, Instruction], threads: int
    ) -> None:
        self.order = order
        self.options = Ways(order, layouts, makers, threads)
        self.found: list[Region] = []
        self.open, self.work = Region([], []), 0.0

    def run(self) -> list[Region]:
        for group in self.order.groups:
            if self.work >= LONG_ENOUGH:
                self.close()
            ways = list(self.options.of(group))
            joining = [way for way in ways if self.fits(way)]
            waiting = min(ways, key=_penalty, default=None)
            way = min(joining, key=_penalty, default=None)
            if way is None or (waiting is not None and waiting.penalty + BARRIER < way.penalty):
                self.close()
                way = waiting
            if way is None:
                self.found.append(Region([group], []))
            else:
                self.open.groups.append(group)
                self.open.ways.append(way)
                self.work += work(group)
        self.close()
        return self.found

    def close(self) -> None:
        """End the region; where its work is too little to be shared out, one thread does it."""
        if self.open.groups and self.work >= WORTH_SHARING:
            self.found.append(self.open)
        else:
            self.found += [Region([group], []) for group in self.open.groups]
        self.open, self.work = Region([], []), 0.0

    def fits(self, way: Way) -> bool:
        """Whether a group can run in the open region without waiting."""
        for earlier in self.open.ways:
            if way.inside & earlier.touched or earlier.inside & way.touched:
                return False
            for memory, cuts in way.reads.items():
                if memory in earlier.writes and not _alike(cuts, earlier.writes[memory]):
                    return False
            for memory, cut in way.writes.items():
                if memory in earlier.writes and (cut is None or cut != earlier.writes[memory]):
                    return False
                if memory in earlier.reads and not _alike(earlier.reads[memory], cut):
                    return False
        return True


def _alike(cuts: set[Cut | None], other: Cut | None) -> bool:
    return other is not None and cuts == {other}


def _penalty(way: Way) -> float:
    return way.penalty


class Ways:
    """The ways in which groups can be shared out."""

    def __init__(
        self, order: Schedule, layouts: dict[Value, Layout], makers: dict[Value, Instruction], threads: int
    ) -> None:
        self.stored = order.stored
        self.in_place = order.in_place
        self.layouts = layouts
        self.makers = makers
        self.threads = threads

    def of(self, group: Group) -> Iterator[Way]:
        """All ways, the outermost axis first."""
        first = group.members[0]
        if first.opcode == "leaf":
            found = [self._leaf(first)]
        elif group.space is not None:
            found = [self._loop(group, axis) for axis in _outer_axes(group.space)]
        elif first.opcode == "matmul":
            found = [self._product(group, first, axis) for axis in _outer_axes(first.result.shape)]
        elif first.opcode == "cat" and first.params["dim"] != 0:
            found = [self._cat(first)]
        else:
            found = []
        yield from (way for way in found if way is not None)

    def memory(self, value: Value) -> Value:
        """What stands for the memory that a value lies in: a part of an input is a memory of its own."""
        target = self.in_place.get(value)
        return value if target is None or self.whole(target) is not None else target

    def whole(self, target: Value) -> Value | None:
        """The input of which the target of a write is a part; None where it is all of it."""
        base = self.layouts[target].base
        return None if base is target else base

    # -- loops and products -----------------------------------------------------------------------------------------

    def _loop(self, group: Group, axis: int) -> Way | None:
        space = group.space
        assert space is not None
        product = next((m for m in group.members if m.opcode == "matmul"), None)
        innermost = axis == len(space) - 1
        cut = shares(space[axis], self.threads, _NEIGHBOURS if innermost else 1)
        if cut is None:
            return None
        draft = _Draft(self, axis, cut)
        own = {v for m in group.members for v in m.results}
        for member in group.members:
            if member.opcode == "matmul":
                continue
            for operand in member.operands:
                if operand not in own and not draft.read(operand, space):
                    return None
            if member.opcode == "reduce":
                if not draft.reduced(member, space):
                    return None
            elif member.result in self.stored:
                draft.write(member.result, self.layouts[member.result].strides, space)
        if product is not None:
            if not self._operands(draft, product, axis):
                return None
            if product.result in self.stored:
                draft.write(product.result, self.layouts[product.result].strides, space)
        return draft.way()

    def _product(self, group: Group, instruction: Instruction, axis: int) -> Way | None:
        shape = instruction.result.shape
        cut = shares(shape[axis], self.threads, _NEIGHBOURS if axis == len(shape) - 1 else 1)
        if cut is None:
            return None
        draft = _Draft(self, axis, cut)
        if not self._operands(draft, instruction, axis):
            return None
        draft.write(instruction.result, self.layouts[instruction.result].strides, shape)
        return draft.way()

    def _operands(self, draft: _Draft, instruction: Instruction, axis: int) -> bool:
        """What a product reads when rows, columns or matrices of its result are shared out."""
        shape, depth = instruction.result.shape, instruction.operands[0].shape[-1]
        place = axis - (len(shape) - 2)
        draft.penalty += repacking(instruction, self.layouts, place, draft.shares.parts)
        for side, operand in enumerate(instruction.operands):
            layout = self.layouts[operand]
            strides = broadcast_strides(operand.shape[:-2], layout.strides[:-2], shape[:-2])
            down, along = matrix_strides(operand.shape, layout.strides)
            rows_and_columns = (down, 0, along) if side == 0 else (0, along, down)
            draft.touch(draft.reads, layout.base, (*strides, *rows_and_columns), layout.offset, (*shape, depth))
        return True

    # -- kernels written by hand, joining ---------------------------------------------------------------------------

    def _leaf(self, instruction: Instruction) -> Way | None:
        split = instruction.params["leaf"].split()
        cut = None if split is None else shares(split.size, self.threads)
        if split is None or cut is None:
            return None
        draft = _Draft(self, 0, cut)
        for operand, sliced in zip(instruction.operands, split.operands, strict=True):
            layout = self.layouts[operand]
            sizes, strides = by_positions(operand.shape, layout.strides, split.size)
            if not sliced:
                sizes, strides = (split.size, *operand.shape), (0, *layout.strides)
            draft.touch(draft.reads, layout.base, strides, layout.offset, sizes)
        for (shape, layout), kind in zip(written_by(instruction, self.layouts), split.results, strict=True):
            if kind == "sum":
                draft.put_together(layout.base)
            else:
                sizes, strides = by_positions(shape, layout.strides, split.size)
                draft.write(layout.base, strides, sizes, layout.offset)
        return draft.way()

    def _cat(self, instruction: Instruction) -> Way | None:
        result = instruction.result
        cut = shares(result.shape[0], self.threads)
        if cut is None:
            return None
        draft = _Draft(self, 0, cut)
        for operand in instruction.operands:
            if not draft.read(operand, operand.shape):
                return None
        draft.write(result, self.layouts[result].strides, result.shape)
        return draft.way()


class _Draft:
    """A way that is being worked out."""

    def __init__(self, ways: Ways, axis: int, cut: Shares) -> None:
        self.ways = ways
        self.axis = axis
        self.shares = cut
        self.reads: dict[Value, set[Cut | None]] = {}
        self.writes: dict[Value, Cut | None] = {}
        self.inside: set[Value] = set()
        self.partial: list[Value] = []
        self.penalty = 0.0

    def touch(
        self,
        table: dict[Value, set[Cut | None]],
        base: Value,
        strides: tuple[int, ...],
        offset: int,
        sizes: tuple[int, ...],
    ) -> None:
        """Memory that is gone through by ``strides``."""
        cut = cut_of(base.size, sizes, strides, offset, self.axis, self.shares.step)
        table.setdefault(self.ways.memory(base), set()).add(cut)

    def read(self, operand: Value, space: tuple[int, ...]) -> bool:
        """An operand of a loop; false where the axis cannot be shared out, for the loop counts its positions."""
        layout = self.ways.layouts[operand]
        maker = self.ways.makers.get(layout.base)
        strides = broadcast_strides(operand.shape, layout.strides, space)
        if maker is not None and maker.opcode in ("constant", "iota"):
            return maker.opcode == "constant" or strides[self.axis] == 0
        self.touch(self.reads, layout.base, strides, layout.offset, space)
        return True

    def write(self, value: Value, strides: tuple[int, ...], space: tuple[int, ...], offset: int = 0) -> None:
        """A result that lies by ``strides``, or a part of one that begins at ``offset``."""
        layout = self.ways.layouts[value]
        if value in self.ways.in_place and (whole := self.ways.whole(self.ways.in_place[value])) is not None:
            self.inside.add(whole)
        cut = cut_of(layout.base.size, space, strides, layout.offset + offset, self.axis, self.shares.step)
        memory = self.ways.memory(layout.base)
        if self.writes.setdefault(memory, cut) != cut:
            self.writes[memory] = None

    def reduced(self, member: Instruction, space: tuple[int, ...]) -> bool:
        """A reduction; over the shared axis each share gives a part of the result."""
        axes, value = member.params["axes"], member.result
        if self.axis not in axes:
            strides = tuple(0 if i in axes else s for i, s in enumerate(self.ways.layouts[value].strides))
            self.write(value, strides, space)
            cut = self.writes[self.ways.memory(self.ways.layouts[value].base)]
            return cut is not None and cut.period >= value.size  # a share's results are cleared in one run
        if value.size > _MOST_PARTIAL:
            return False
        self.put_together(value)
        return True

    def put_together(self, value: Value) -> None:
        """A result of which each share makes a part."""
        self.partial.append(value)
        self.writes[self.ways.memory(self.ways.layouts[value].base)] = None
        self.penalty += BARRIER / 2 + 0.2 * value.size * self.shares.parts

    def way(self) -> Way | None:
        """The finished way; None where shares would write over each other."""
        partial = {self.ways.memory(self.ways.layouts[v].base) for v in self.partial}
        if any(cut is None and memory not in partial for memory, cut in self.writes.items()):
            return None
        return Way(
            self.axis, self.shares, self.reads, self.writes, frozenset(self.inside), tuple(self.partial), self.penalty
        )


def _outer_axes(space: tuple[int, ...]) -> list[int]:
    """The two outermost axes that are longer than 1."""
    return [d for d, n in enumerate(space) if n > 1][:2]


__all__ = ["Region", "Way", "Ways", "regions_of"]
