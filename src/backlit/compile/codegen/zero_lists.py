"""The left side of a product as lists of what is not zero: for each run of k and each row its numbers, in order."""

from __future__ import annotations

from typing import Any, NamedTuple

from .gemm_plan import Gemm, Sparse
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
    down, along = spec.a_strides

    def run(q: Any, found: Value) -> list[Value]:
        begin = b.index(q) * cut.depth
        depth = b.minimum(b.index(spec.k) - begin, cut.depth)

        def row(i: Any, found: Value) -> list[Value]:
            lists.starts.store(b.convert(found, INT32), b.index(q) * spec.m + i)
            source = left + begin * along + b.index(i) * down

            def element(k: Any, found: Value) -> list[Value]:
                number = source.load(b.index(k) * along, 0)
                lists.numbers.store(number, found)  # written over by the next one where it is zero
                lists.places.store(b.convert(b.index(k) * cut.stride, INT32), found)
                return [found + b.convert(number != 0.0, INT64)]

            return b.loop(0, depth, 1, element, [found])

        return b.loop(0, spec.m, 1, row, [found])

    runs = cut.runs(spec)
    (found,) = b.loop(0, runs, 1, run, [b.index(0)])
    lists.starts.store(b.convert(found, INT32), runs * spec.m)
    return found


__all__ = ["Lists", "write_lists"]
