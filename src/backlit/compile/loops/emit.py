"""A loop kernel as a native function: nested loops, the innermost over vectors, with a masked last round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.mathfun import CHAINED
from ..codegen.target import Target, host_target
from ..codegen.values import Pointer, Value
from ..codegen.vector import VectorBuilder, function
from .arithmetic import across, combine, memory_type
from .kernel import Kernel, Reduction
from .order import arranged
from .points import Points, Spot

LIGHT = 16
"""Loops with at most so many operations are unrolled."""

UNROLLED = 4

SIDE_BY_SIDE = 2
"""Registers full of elements that a long chain of instructions is computed on, so that one waits less for another.

They are one wide vector, whose halves LLVM turns into instructions next to each other: unrolled, the second chain
would begin where the first ends, further ahead than a processor looks. More would not fit in the registers.
"""


def lanes_for(kernel: Kernel, target: Target) -> int:
    """How many elements a round covers: as many of the widest floating dtype as fill a register."""
    dtypes = {*kernel.slots, *[o.dtype for o in kernel.operations]}
    return target.lanes(np.float64 if "float64" in dtypes or not dtypes & {"float32"} else np.float32)


def emit_kernel(module: Any, name: str, kernel: Kernel, target: Target | None = None) -> None:
    """Define ``void name(pointer, …)``, one pointer a slot, in an LLVM module."""
    target = target or host_target()
    lanes = lanes_for(kernel, target)
    dtype = np.float32 if lanes == target.lanes(np.float32) else np.float64
    slots = [memory_type(d) for d in kernel.slots]
    with function(module, name, slots, target, dtype) as (b, *pointers):
        _Emitter(b, pointers, arranged(kernel, lanes), lanes).run()


class _Emitter:
    def __init__(self, b: VectorBuilder, pointers: list[Pointer], kernel: Kernel, lanes: int) -> None:
        self.b = b
        self.pointers = pointers
        self.kernel = kernel
        self.lanes = lanes
        self.points = Points(b, pointers, kernel, lanes)
        self.depth = len(kernel.sizes) - 1
        self.starts = [_start(r, self.depth) for r in kernel.reductions]

    def run(self) -> None:
        for reduction, start in zip(self.kernel.reductions, self.starts, strict=True):
            if self._in_memory(reduction, start) or 0 in self.kernel.sizes:
                self._fill(reduction)
        if 0 not in self.kernel.sizes:
            self._level(0, [], {})

    # -- loops ------------------------------------------------------------------------------------------------------

    def _level(self, depth: int, index: list[Any], sums: dict[int, Value]) -> dict[int, Value]:
        """Emit the loops from ``depth`` inwards; ``sums`` are the accumulators of reductions that are under way."""
        b, kernel = self.b, self.kernel
        fresh = [i for i, start in enumerate(self.starts) if start == max(depth, 0)]
        for i in fresh:
            sums = {**sums, i: self._neutrals([i])[0]}
        if depth >= self.depth:
            sums = self._inner(index, sums)
        else:
            keys = list(sums)

            def body(i: Any, *carried: Value) -> list[Value]:
                return list(self._level(depth + 1, [*index, i], dict(zip(keys, carried, strict=True))).values())

            after = b.loop(0, kernel.sizes[depth], 1, body, list(sums.values()))
            sums = dict(zip(keys, after, strict=True))
        for i in fresh:
            self._finish(kernel.reductions[i], index, sums.pop(i), self.starts[i])
        return sums

    def _inner(self, index: list[Any], sums: dict[int, Value]) -> dict[int, Value]:
        """The innermost loop: several vectors a round, then one, then what is left over."""
        size = self.kernel.sizes[-1] if self.kernel.sizes else 1
        lanes, keys = self.lanes, list(sums)
        main, held = self._main_rounds(index, size, sums)
        rounds = size // lanes

        def single(i: Any, *carried: Value) -> list[Value]:
            return self._vector(self.points, self._spot(index, i), 0, None, keys, carried)

        held = self.b.loop(main, rounds * lanes, lanes, single, held)
        if size % lanes:
            held = self._vector(self.points, self._spot(index, rounds * lanes), 0, size % lanes, keys, held)
        return dict(zip(keys, held, strict=True))

    def _main_rounds(self, index: list[Any], size: int, sums: dict[int, Value]) -> tuple[int, list[Value]]:
        """As many elements as rounds of several vectors cover: how many, and what they sum up to."""
        points, unroll = self._round(size)
        step, keys = points.lanes * unroll, list(sums)
        main = size - size % step

        def several(i: Any, *carried: Value) -> list[Value]:
            parts = [carried[u * len(keys) : (u + 1) * len(keys)] for u in range(unroll)]
            spot = self._spot(index, i)
            vectors = [self._vector(points, spot, u * points.lanes, None, keys, parts[u]) for u in range(unroll)]
            return [x for vector in vectors for x in vector]

        start = [self._widened(points, k, x) for k, x in sums.items()]  # what was summed up before counts once
        carried = self.b.loop(0, main, step, several, [*start, *self._neutrals(keys) * (unroll - 1)])
        held = carried[: len(keys)]
        for u in range(1, unroll):
            more = carried[u * len(keys) : (u + 1) * len(keys)]
            held = [self._combined(k, x, y) for k, x, y in zip(keys, held, more, strict=True)]
        return main, [self._narrowed(k, x) for k, x in zip(keys, held, strict=True)]

    def _round(self, size: int) -> tuple[Points, int]:
        """The vectors of the main rounds, and how many a round takes."""
        if size >= self.lanes * SIDE_BY_SIDE and any(o.opcode in CHAINED for o in self.kernel.operations):
            return Points(self.b, self.pointers, self.kernel, self.lanes * SIDE_BY_SIDE), 1
        light = len(self.kernel.operations) <= LIGHT and size >= UNROLLED * self.lanes
        return self.points, UNROLLED if light else 1

    def _widened(self, points: Points, i: int, x: Value) -> Value:
        """An accumulator with as many lanes as ``points``, the others without effect."""
        nothing = self.points.nothing(self.kernel.reductions[i])
        return x if points is self.points else self.b.lanes_at(x, range(points.lanes), nothing)

    def _narrowed(self, i: int, x: Value) -> Value:
        """The halves of a wide accumulator put together."""
        if x.lanes == self.lanes:
            return x
        halves = [self.b.lanes_at(x, range(half, half + self.lanes)) for half in (0, self.lanes)]
        return self._combined(i, *halves)

    def _neutrals(self, keys: list[int]) -> list[Value]:
        """What accumulators of these reductions start from."""
        found = [self.kernel.reductions[i] for i in keys]
        return [self.points.nothing(r) for r in found]

    def _combined(self, i: int, x: Value, y: Value) -> Value:
        return combine(self.b, self.kernel.reductions[i].kind, x, y)

    # -- one vector -------------------------------------------------------------------------------------------------

    def _spot(self, index: list[Any], i: Any) -> Spot:
        return Spot([*index, i] if self.kernel.sizes else [])

    def _vector(
        self, points: Points, spot: Spot, further: int, count: int | None, keys: list[int], sums: Any
    ) -> list[Value]:
        """Everything for the vector that is so much ``further`` than the spot; its first ``count`` elements are wanted
        (None: all)."""
        b, kernel = self.b, self.kernel
        ahead = (*[0] * (len(spot.here) - 1), further)
        parts = points.at(spot, ahead, count)
        after: dict[int, Value] = {}
        for i_reduction, (reduction, part) in enumerate(zip(kernel.reductions, parts, strict=True)):
            if i_reduction in keys:
                if count is not None:
                    part = b.where(b.first(count, self.lanes), part, self.points.nothing(reduction))
                after[i_reduction] = combine(b, reduction.kind, sums[keys.index(i_reduction)], part)
            else:
                self._accumulate(points, reduction, part, spot, ahead, count)
        return [after[i] for i in keys]

    # -- reductions -------------------------------------------------------------------------------------------------

    def _in_memory(self, reduction: Reduction, start: int | None) -> bool:
        """Whether results are put together in memory, since loops over other dimensions lie inside the reduced ones."""
        outside = [d for d in reduction.axes if start is None or d < start]
        return bool(outside)

    def _fill(self, reduction: Reduction) -> None:
        fill_neutral(self.points, self.kernel, reduction)

    def _finish(self, reduction: Reduction, index: list[Any], total: Value, start: int | None) -> None:
        """Lanes added up, and stored or added to what is there."""
        b = self.b
        spot = Spot([*index, *[0] * (len(self.kernel.sizes) - len(index))])
        address, result = self.points.address(reduction.access, spot), across(b, reduction.kind, total)
        if self._in_memory(reduction, start):
            result = combine(b, reduction.kind, address.load(0, 0), result)
        address.store(result)

    def _accumulate(
        self,
        points: Points,
        reduction: Reduction,
        part: Value,
        spot: Spot,
        ahead: Sequence[int],
        count: int | None,
    ) -> None:
        before = points.load(reduction.access, spot, ahead, count)
        points.store(combine(self.b, reduction.kind, before, part), reduction.access, spot, ahead, count)


def fill_neutral(points: Points, kernel: Kernel, reduction: Reduction) -> None:
    """Let the results of a reduction start from what changes nothing."""
    b, lanes, count = points.b, points.lanes, 1
    for d, n in enumerate(kernel.sizes):
        count *= 1 if d in reduction.axes else n
    start = points.pointers[reduction.access.slot]
    number = points.nothing(reduction)
    full = count - count % lanes
    b.loop(0, full, lanes, lambda i: start.store(number, i))
    if count % lanes:
        start.store(number, full, b.first(count % lanes, lanes))


def _start(reduction: Reduction, depth: int) -> int | None:
    """The outermost dimension from which on all are reduced; None where the innermost is not."""
    start = None
    for d in range(depth, -1, -1):
        if d not in reduction.axes:
            break
        start = d
    return 0 if depth < 0 else start


__all__ = ["emit_kernel", "fill_neutral", "lanes_for"]
