"""The left side of a product as lists of what is not zero: for each run of k and each row its numbers, in order."""

from __future__ import annotations

from typing import Any, NamedTuple

from .gemm_plan import Gemm, Sparse
from .packing import pack_columns
from .values import INT32, INT64, Pointer, Value
from .vector import VectorBuilder


class Lists(NamedTuple):
    """Where the lists lie, one behind the other: ``starts[run · m + row]`` is where one begins and the one before it
    ends. ``places`` are how far the row of B that a number is multiplied by lies from the begin of its block."""

    numbers: Pointer
    places: Pointer
    starts: Pointer

    @classmethod
    def at(cls, b: VectorBuilder, spec: Gemm, workspace: Pointer) -> Lists:
        """The lists of a product in its workspace."""
        size = spec.m * spec.k
        return cls(workspace, b.pointer((workspace + size).ir, INT32), b.pointer((workspace + 2 * size).ir, INT32))


def write_lists(b: VectorBuilder, spec: Gemm, cut: Sparse, left: Pointer, lists: Lists) -> Value:
    """Write down what is not zero, NaN included; how many numbers that is."""
    writer = _Writer(b, spec, cut, left, lists)
    last = cut.runs(spec) - 1
    found = b.loop(0, last, 1, lambda q, found: [writer.run(b.index(q), cut.depth, found)], [b.index(0)])
    count = writer.run(b.index(last), spec.k - last * cut.depth, *found)
    lists.starts.store(b.convert(count, INT32), (last + 1) * spec.m)
    return count


class _Writer:
    def __init__(self, b: VectorBuilder, spec: Gemm, cut: Sparse, left: Pointer, lists: Lists) -> None:
        self.b, self.spec, self.cut, self.left, self.lists = b, spec, cut, left, lists
        self.stride = -(-cut.depth // b.lanes) * b.lanes
        turns = spec.a_strides[0] == 1 != spec.a_strides[1]
        self.turned = b.array(b.lanes * self.stride) if turns else None
        self.bits = b.bits_of(b.element)

    def run(self, q: Value, depth: int, found: Value) -> Value:
        """One run along k of all rows."""
        b, (down, along) = self.b, self.spec.a_strides
        source = self.left + q * (self.cut.depth * along)

        def row(i: Value, where: Pointer, step: int, found: Value) -> Value:
            self.lists.starts.store(b.convert(found, INT32), q * self.spec.m + i)
            return self._row(where, step, depth, found)

        if self.turned is None:
            return b.loop(
                0, self.spec.m, 1, lambda i, f: [row(b.index(i), source + b.index(i) * down, along, f)], [found]
            )[0]

        def several(i: Value, count: int, found: Value) -> Value:
            assert self.turned is not None
            pack_columns(b, source + i * down, along, count, depth, self.turned, self.stride)
            for r in range(count):
                found = row(i + r, self.turned + r * self.stride, 1, found)
            return found

        whole = self.spec.m - self.spec.m % b.lanes
        (found,) = b.loop(0, whole, b.lanes, lambda i, f: [several(b.index(i), b.lanes, f)], [found])
        return several(b.index(whole), self.spec.m - whole, found) if whole < self.spec.m else found

    def _row(self, where: Pointer, step: int, depth: int, found: Value) -> Value:
        """What is not zero in one row."""
        b, lists = self.b, self.lists
        where, numbers = (b.pointer(p.ir, self.bits) for p in (where, lists.numbers))

        def element(k: Any, found: Value) -> list[Value]:
            number = where.load(b.index(k) * step, 0)
            numbers.store(number, found)  # written over by the next one where it is zero
            lists.places.store(b.convert(b.index(k) * self.cut.stride, INT32), found)
            return [found + b.convert((number << 1) != 0, INT64)]  # without its sign

        return b.loop(0, depth, 1, element, [found])[0]


__all__ = ["Lists", "write_lists"]
