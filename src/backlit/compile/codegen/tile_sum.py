"""The innermost loops of products and convolutions: accumulators in registers, summed over nested runs.

Each step loads some neighbouring vectors from the right once and multiplies them by one element from the left for each
row of the tile, found at that row's fixed distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .values import Pointer, Value
from .vector import VectorBuilder

_UNROLL = 4  # steps of long runs that are written out, where their number is a multiple of it
_FEWER = 2  # otherwise, and of counts known beforehand: convolutions go through many short runs
_SHORT = 4  # loops of so few steps are written out
_FAR = 16  # steps from which a row of the right is asked for that goes into a panel


class Level(NamedTuple):
    """One loop: how often, and how far the left and the right step each time. ``count`` may be a 64-bit value."""

    count: Any
    left: int
    right: int
    multiple: int = 1
    """What a count that is a value is known to be a multiple of."""


class TileSum:
    """Sums ``left[offset(row)] · right[vector]`` over nested levels, outermost first.

    ``offsets`` are the rows' distances on the left, ``masks`` the masks of the vectors on the right (None: whole).
    ``ahead`` is where rows that come next lie, with contiguous steps and the distances beside it: they are asked for
    from memory on the way. ``panel`` is where the vectors of the right are put down, side by side, step after step.
    """

    def __init__(
        self,
        b: VectorBuilder,
        offsets: Sequence[int],
        masks: Sequence[Value | None],
        ahead: tuple[Pointer, Sequence[int]] | None = None,
        panel: Pointer | None = None,
    ) -> None:
        self.b, self.offsets, self.masks, self.ahead, self.panel = b, offsets, masks, ahead, panel

    def run(self, left: Pointer, right: Pointer, levels: Sequence[Level], sums: Sequence[Value]) -> list[Value]:
        """The sums, row by row, with all products added."""
        if len(levels) > 1:
            first, *inner = levels

            def body(i: Any, *sums: Value) -> list[Value]:
                return self.run(left + i * first.left, right + i * first.right, inner, sums)

            return self.b.loop(0, first.count, 1, body, sums)
        return self._innermost(left, right, levels[0], sums)

    def _innermost(self, left: Pointer, right: Pointer, level: Level, sums: Sequence[Value]) -> list[Value]:
        count = level.count
        known = isinstance(count, int)
        multiple = count if known else level.multiple
        unroll = _FEWER if known or multiple % _UNROLL else _UNROLL
        wide = len(self.masks) * self.b.lanes

        def steps(k: Any, number: int, sums: Sequence[Value]) -> list[Value]:
            """So many steps from the k-th on."""
            near, there = left + k * level.left, right + k * level.right
            panel = None if self.panel is None else self.panel + k * wide
            for u in range(number):
                vectors = self._vectors(there + u * level.right)
                if panel is not None:
                    self._put_down(vectors, panel + u * wide)
                    self.b.prefetch(there + (u + _FAR) * level.right)
                sums = self._step(near + u * level.left, vectors, sums)
            return list(sums)

        def several(k: Any, *sums: Value) -> list[Value]:
            return steps(k, unroll, sums)

        if known and count <= _SHORT:
            return steps(0, count, sums)
        start: Any = 0
        if self.ahead is not None:
            line = self.b.a_line(self.b.element)
            start = count - count % line if known else count & -line

            def with_prefetch(k: Any, *sums: Value) -> list[Value]:
                self._prefetch(k)
                return self.b.loop(k, k + line, unroll, several, sums)

            sums = self.b.loop(0, start, line, with_prefetch, sums)
            if multiple % line == 0:
                return list(sums)
        whole = count - count % unroll if known else count & -unroll
        sums = self.b.loop(start, whole, unroll, several, sums)
        if multiple % unroll == 0:
            return list(sums)
        return self.b.loop(whole, count, 1, lambda k, *sums: steps(k, 1, sums), sums)

    def _prefetch(self, k: Any) -> None:
        """Ask for one line of each row that comes next."""
        assert self.ahead is not None
        pointer, offsets = self.ahead
        for offset in offsets:
            self.b.prefetch(pointer + k + offset)

    def _vectors(self, right: Pointer) -> list[Value]:
        """Those of one step."""
        return [right.load(v * self.b.lanes, mask=mask) for v, mask in enumerate(self.masks)]

    def _put_down(self, vectors: Sequence[Value], panel: Pointer) -> None:
        """Those of one step side by side, for tiles that follow."""
        for v, vector in enumerate(vectors):
            panel.store(vector, v * self.b.lanes)

    def _step(self, left: Pointer, vectors: Sequence[Value], sums: Sequence[Value]) -> list[Value]:
        b, width = self.b, len(self.masks)
        following = []
        for r, offset in enumerate(self.offsets):
            factor = left.splat(offset)
            following += [b.muladd(factor, y, sums[r * width + v]) for v, y in enumerate(vectors)]
        return following


__all__ = ["Level", "TileSum"]
