"""Large products and the loops that use them up, strip after strip of rows: only a strip of the product is in memory.

A weight's gradient and its optimizer's update are the common case: the gradient of a weight of a million entries takes
4 MB, which nobody needs but the update. Steps of several threads share such pairs out instead.
"""

from __future__ import annotations

from collections.abc import Collection

from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..loops.groups import Group
from .costs import work
from .regions import Region, Way, Ways
from .schedule import Schedule

STRIP = 1 << 20
"""Bytes of the product that are made at a time."""

_WORTH = 0.1
"""The share of the product's time that packing an operand anew for each strip may add."""


def with_strips(
    alone: list[Region],
    order: Schedule,
    layouts: dict[Value, Layout],
    makers: dict[Value, Instruction],
    results: Collection[Value],
) -> list[Region]:
    """The regions of a step on one thread, such pairs put together where the loop was; ``results`` are needed when the
    step is over."""
    strips = _Strips(order, layouts, makers, results)
    joined = {}
    for product in order.groups:
        loop = strips.user(product)
        ways = None if loop is None or loop in joined else strips.ways(product, loop)
        if loop is not None and ways is not None:
            joined[loop] = Region([product, loop], ways)
    gone = {region.groups[0] for region in joined.values()}
    return [joined.get(r.groups[0], r) for r in alone if r.groups[0] not in gone]


class _Strips:
    def __init__(
        self,
        order: Schedule,
        layouts: dict[Value, Layout],
        makers: dict[Value, Instruction],
        results: Collection[Value],
    ) -> None:
        self.order = order
        self.layouts = layouts
        self.makers = makers
        self.results = results

    def user(self, product: Group) -> Group | None:
        """The one loop that takes a large product, which may wait for it; None where others do, or it may not."""
        first = product.members[0]
        if first.opcode != "matmul" or product.space is not None or first.result.ndim != 2:
            return None
        made, groups = first.result, self.order.groups
        if _bytes(made) < 2 * STRIP or made in self.results or made in self.order.in_place:
            return None
        users = [group for group in groups if made in self._read(group)]
        if len(users) != 1 or users[0].space != made.shape or not all(map(self._is_easy, users[0].members)):
            return None
        between = groups[groups.index(product) + 1 : groups.index(users[0])]
        overwritten = {self.order.in_place.get(v) for group in between for m in group.members for v in m.results}
        return None if overwritten & self._read(product) else users[0]

    def ways(self, product: Group, loop: Group) -> list[Way] | None:
        """How both are cut into the same strips; None where that cannot be, or does not pay."""
        made = product.members[0].result
        options = Ways(self.order, self.layouts, self.makers, _bytes(made) // STRIP)
        one, two = (next((w for w in options.of(group) if w.axis == 0), None) for group in (product, loop))
        if one is None or two is None or one.shares != two.shares or two.reads.get(made) != {one.writes[made]}:
            return None
        apart = not (one.reads.keys() & two.writes.keys()) and all(
            two.reads.get(memory, {cut}) == {cut} for memory, cut in two.writes.items()
        )
        if not apart or one.penalty > _WORTH * work(product):
            return None
        return [one._replace(strip=made), two._replace(strip=made)]

    def _is_easy(self, member: Instruction) -> bool:
        """Whether a member can run by strips, and gives nothing that could lie where the product does otherwise."""
        value, order = member.result, self.order
        outside = value not in order.stored or value in order.in_place or value in self.results
        return outside and member.opcode not in ("matmul", "reduce")

    def _read(self, group: Group) -> set[Value | None]:
        return {self.layouts[o].base for m in group.members for o in m.operands}


def _bytes(value: Value) -> int:
    return value.size * (value.dtype.itemsize if value.dtype is not None else 0)


__all__ = ["STRIP", "with_strips"]
