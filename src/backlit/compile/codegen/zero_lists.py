"""The left side of a product as lists of where it is not zero: for each run of k and each row the places, in order.

A place is a byte, counted from where the run begins. The places of a few neighbours are looked up all at once, by the
bits that say which of them are not zero. Rows whose elements do not lie side by side are copied so that they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .gemm_plan import Gemm, Sparse
from .packing import pack_columns
from .values import INT8, INT32, INT64, Pointer, Value
from .vector import VectorBuilder

_TOGETHER = 8  # places that are looked up at once: the bytes of one 64-bit number
_EVERYWHERE = 0x0101010101010101  # times a byte: that byte in each of them


@dataclass(frozen=True)
class Lists:
    """Of one run: ``places[starts[i]] … places[starts[i + 1]]`` are those of row ``i``, which begins at
    ``numbers + i · row``."""

    numbers: Pointer
    row: int
    places: Pointer
    starts: Pointer

    @property
    def pointers(self) -> list[Pointer]:
        """What changes from run to run."""
        return [self.numbers, self.places, self.starts]


class ListWriter:
    """Writes the lists of a product into its workspace, and tells where they lie."""

    def __init__(self, b: VectorBuilder, spec: Gemm, cut: Sparse, left: Pointer, workspace: Pointer) -> None:
        self.b, self.spec, self.cut, self.left = b, spec, cut, left
        self.copy = workspace if cut.copies(spec) else None
        behind = workspace + cut.copied(spec, b.lanes)
        self.starts = b.pointer(behind.ir, INT32)
        self.places = b.pointer((self.starts + (spec.m * cut.runs(spec) + 1)).ir, INT8)
        self.step = cut.row(b.lanes)

    def run(self, q: Value) -> Lists:
        """The lists of one run."""
        starts = self.starts + q * self.spec.m
        if self.copy is not None:
            return Lists(self.copy + q * (self.spec.m * self.step), self.step, self.places, starts)
        return Lists(self.left + q * self.cut.depth, self.spec.a_strides[0], self.places, starts)

    def write(self) -> Value:
        """Write all of them; how many elements are not zero. NaN is not."""
        b, last = self.b, self.cut.runs(self.spec) - 1
        found = b.loop(0, last, 1, lambda q, found: [self._run(b.index(q), self.cut.depth, found)], [b.index(0)])
        count = self._run(b.index(last), self.spec.k - last * self.cut.depth, *found)
        self.starts.store(b.convert(count, INT32), (last + 1) * self.spec.m)
        return count

    def _run(self, q: Value, depth: int, found: Value) -> Value:
        """One run along k of all rows."""
        b, spec, lists = self.b, self.spec, self.run(q)

        def several(i: Value, count: int, found: Value) -> Value:
            if self.copy is not None:
                self._copy(q, i, count, depth, lists.numbers + i * self.step)

            def row(r: Any, found: Value) -> list[Value]:
                lists.starts.store(b.convert(found, INT32), i + r)
                return [self._row(lists.numbers + (i + r) * lists.row, depth, found)]

            return b.loop(0, count, 1, row, [found])[0]

        group = b.lanes if self.copy is not None else 1
        whole = spec.m - spec.m % group
        (found,) = b.loop(0, whole, group, lambda i, f: [several(b.index(i), group, f)], [found])
        return several(b.index(whole), spec.m - whole, found) if whole < spec.m else found

    def _copy(self, q: Value, i: Value, count: int, depth: int, rows: Pointer) -> None:
        """Some rows side by side, each in whole vectors."""
        b, (down, along) = self.b, self.spec.a_strides
        source = self.left + (q * (self.cut.depth * along) + i * down)
        if down == 1:
            pack_columns(b, source, along, count, depth, rows, self.step)
            return
        for r in range(count):
            given, row = source + r * down, rows + r * self.step
            b.loop(0, depth, 1, lambda k, given=given, row=row: row.store(given.load(b.index(k) * along, 0), k))

    def _row(self, where: Pointer, depth: int, found: Value) -> Value:
        """The places of one row."""
        b = self.b
        whole = depth - depth % b.lanes

        def some(k: Any, found: Value) -> list[Value]:
            return [self._some(where.load(k), b.index(k), found)]

        (found,) = b.loop(0, whole, b.lanes, some, [found])
        if whole == depth:
            return found
        return self._some(where.load(whole, mask=b.first(depth - whole)), b.index(whole), found)

    def _some(self, elements: Value, k: Value, found: Value) -> Value:
        """The places of neighbours from ``k`` on; what is written too much is written over by what follows."""
        b, lanes = self.b, elements.lanes
        bits = Value(b, b.ir.zext(b.ir.bitcast((elements != 0).ir, ir.IntType(lanes)), INT64))
        for part in range(0, lanes, _TOGETHER):
            here = (bits >> part) & 255
            places = _set_bits(b).load(here, 0) + (k + part) * _EVERYWHERE
            self.places.store(places, found)
            found = found + Value(b, b.call("llvm.ctpop", INT64, [here.ir], [INT64]))
        return found


def _set_bits(b: VectorBuilder) -> Pointer:
    """For each byte the numbers of its bits that are set, as bytes of a 64-bit number, the lowest first."""
    module, name = b.ir.module, "set.bits"
    table = module.globals.get(name)
    if table is None:
        numbers = [_packed([bit for bit in range(8) if byte >> bit & 1]) for byte in range(256)]
        table = ir.GlobalVariable(module, ir.ArrayType(INT64, 256), name)
        table.initializer = ir.Constant(table.value_type, numbers)
        table.linkage, table.global_constant = "internal", True
    return b.pointer(b.ir.bitcast(table, ir.PointerType()), INT64)


def _packed(places: list[int]) -> int:
    return int.from_bytes(bytes(places).ljust(8, b"\0"), "little", signed=True)


__all__ = ["ListWriter", "Lists"]
