"""What a kernel does at one place: load, compute and store one vector of neighbouring elements.

Places that are known numbers of elements away from each other, as the vectors of a tile are, lie around one
:class:`Spot`: addresses are computed and numbers that they share are loaded once for all of them. What is emitted for
a product with its optimizer is half as much this way; LLVM would find out the same, but has to read it first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ..codegen.values import INT8, INT64, Pointer, Value, constant, element_type, type_of
from ..codegen.vector import VectorBuilder
from .arithmetic import compute, neutral
from .kernel import Access, Computed, Constant, Index, Kernel, Load, Operand, Product, Reduction

Wanted = int | Value | None
"""Which lanes count: the first so many, those of a mask, or all."""


class Spot:
    """An index, ``here``, and what is known for places at known distances from it.

    It holds for code that runs only after what was emitted first for it: a straight stretch, or what branches off it.
    """

    def __init__(self, here: Sequence[Any]) -> None:
        self.here = here
        self.places: dict[tuple[int, ...], Any] = {}
        self.addresses: dict[Access, Pointer] = {}
        self.loaded: dict[Hashable, Value] = {}


class Points:
    """The vectors of a kernel; ``lanes`` elements each, along the last dimension.

    Methods take a spot, and how many elements ``ahead`` of it a place lies in each dimension (nothing: none).
    """

    def __init__(self, b: VectorBuilder, pointers: list[Pointer], kernel: Kernel, lanes: int) -> None:
        self.b = b
        self.pointers = pointers
        self.kernel = kernel
        self.lanes = lanes

    def at(self, spot: Spot, ahead: Sequence[int], wanted: Wanted, product: Value | None = None) -> list[Value]:
        """Compute and store everything at a place, and return what is to be reduced."""
        made: list[Value] = []
        known: dict[Operand, Value] = {} if product is None else {Product(): product}

        def value(x: Operand) -> Value:
            if isinstance(x, Computed):
                return made[x.place]
            if x not in known:
                known[x] = self._leaf(x, spot, ahead, wanted)
            return known[x]

        for o in self.kernel.operations:
            result = compute(self.b, o.opcode, [value(x) for x in o.operands], o.dtype)
            made.append(result)
        for store in self.kernel.stores:
            self.store(value(store.operand), store.access, spot, ahead, wanted)
        return [value(reduction.operand) for reduction in self.kernel.reductions]

    def _leaf(self, x: Operand, spot: Spot, ahead: Sequence[int], wanted: Wanted) -> Value:
        if isinstance(x, Constant):
            return self.number(x.value, x.dtype)
        if isinstance(x, Index):
            further = _distance(x.strides, ahead)
            return self._numbers(x, spot) + further if further else self._numbers(x, spot)
        assert isinstance(x, Load)
        return self._shared(x.access, spot, ahead, wanted)

    def _numbers(self, x: Index, spot: Spot) -> Value:
        """The numbers at the spot itself and beside it."""
        if x not in spot.loaded:
            first = self.b.splat(self.b.index(self._place(x.strides, spot) + x.offset), self.lanes)
            step = x.strides[-1] if x.strides else 0
            spot.loaded[x] = first + self.b.iota(INT64, self.lanes) * step if step else first
        return spot.loaded[x]

    def _shared(self, access: Access, spot: Spot, ahead: Sequence[int], wanted: Wanted) -> Value:
        """A vector that is read, by all places around the spot that read the same one.

        Writes of the kernel between them do not change it: what is written in place lies where it is read at the same
        index, and these places have different ones; what is reduced lies nowhere that a kernel reads.
        """
        along = access.strides and access.strides[-1]
        key = (access, _distance(access.strides, ahead), _known_by(wanted) if along else None)
        if key not in spot.loaded:
            spot.loaded[key] = self.load(access, spot, ahead, wanted)
        return spot.loaded[key]

    def number(self, number: Any, dtype: str) -> Value:
        """A number in every lane."""
        return Value(self.b, constant(number, type_of(element_type(dtype), self.lanes)))

    def nothing(self, reduction: Reduction) -> Value:
        """What a reduction starts from, in every lane."""
        dtype = self.kernel.slots[reduction.access.slot]
        return self.number(neutral(reduction.kind, dtype), dtype)

    def _place(self, strides: tuple[int, ...], spot: Spot) -> Any:
        """How far into a buffer the spot lies: a Python integer where it is known."""
        if strides not in spot.places:
            total: Any = 0
            for i, stride in zip(spot.here, strides, strict=True):
                if stride:
                    total = i * stride + total
            spot.places[strides] = total
        return spot.places[strides]

    def address(self, access: Access, spot: Spot, ahead: Sequence[int] = ()) -> Pointer:
        """Where the first element of an access lies."""
        if access not in spot.addresses:
            spot.addresses[access] = self.pointers[access.slot] + self._place(access.strides, spot)
        return spot.addresses[access] + _distance(access.strides, ahead)

    def _mask(self, wanted: Wanted) -> Value | None:
        return self.b.first(wanted, self.lanes) if isinstance(wanted, int) else wanted

    def load(self, access: Access, spot: Spot, ahead: Sequence[int], wanted: Wanted) -> Value:
        """A vector from a buffer."""
        step = access.strides[-1] if access.strides else 0
        address = self.address(access, spot, ahead)
        if step == 0:
            value = address.splat(0, self.lanes)
        elif step == 1:
            value = address.load(0, self.lanes, self._mask(wanted))
        else:
            value = self._gathered(address, step, self._count(wanted))
        return value != 0 if self.kernel.slots[access.slot] == "bool" else value

    def _count(self, wanted: Wanted) -> int:
        assert not isinstance(wanted, Value), "elements that are not neighbours are taken one by one, without a mask"
        return self.lanes if wanted is None else wanted

    def _gathered(self, address: Pointer, step: int, count: int) -> Value:
        """Elements that are not neighbours, one by one."""
        vector: Any = constant(0, type_of(address.element, self.lanes))
        for lane in range(count):
            scalar = address.load(lane * step, 0)
            vector = self.b.ir.insert_element(vector, scalar.ir, constant(lane, type_of(INT64, 0)))
        return Value(self.b, vector)

    def store(self, value: Value, access: Access, spot: Spot, ahead: Sequence[int], wanted: Wanted) -> None:
        """A vector to a buffer."""
        if self.kernel.slots[access.slot] == "bool":
            value = self.b.convert(value, INT8)
        address, step = self.address(access, spot, ahead), access.strides[-1] if access.strides else 0
        if step == 1:
            address.store(value, 0, self._mask(wanted))
            return
        for lane in range(self._count(wanted)):
            address.store(self.b.lane(value, lane), lane * step)


def _distance(strides: Sequence[int], ahead: Sequence[int]) -> int:
    return sum(stride * steps for stride, steps in zip(strides, ahead, strict=False))


def _known_by(wanted: Wanted) -> Hashable:
    """What tells which lanes count; masks are compared by identity, as a comparison of values emits one."""
    return id(wanted.ir) if isinstance(wanted, Value) else wanted


__all__ = ["Points", "Spot", "Wanted"]
