"""What a kernel does at one place: load, compute and store one vector of neighbouring elements."""

from __future__ import annotations

from typing import Any

from ..codegen.values import INT8, INT64, Pointer, Value, constant, element_type, type_of
from ..codegen.vector import VectorBuilder
from .arithmetic import compute, neutral
from .kernel import Access, Computed, Constant, Index, Kernel, Load, Operand, Product, Reduction

Wanted = int | Value | None
"""Which lanes count: the first so many, those of a mask, or all."""


class Points:
    """The vectors of a kernel; ``lanes`` elements each, along the last dimension."""

    def __init__(self, b: VectorBuilder, pointers: list[Pointer], kernel: Kernel, lanes: int) -> None:
        self.b = b
        self.pointers = pointers
        self.kernel = kernel
        self.lanes = lanes

    def at(self, here: list[Any], wanted: Wanted, product: Value | None = None) -> list[Value]:
        """Compute and store everything at an index, and return what is to be reduced."""
        made: list[Value] = []
        known: dict[Operand, Value] = {} if product is None else {Product(): product}

        def value(x: Operand) -> Value:
            if isinstance(x, Computed):
                return made[x.place]
            if x not in known:
                known[x] = self._leaf(x, here, wanted)
            return known[x]

        for o in self.kernel.operations:
            result = compute(self.b, o.opcode, [value(x) for x in o.operands], o.dtype)
            made.append(result)
        for store in self.kernel.stores:
            self.store(value(store.operand), store.access, here, wanted)
        return [value(reduction.operand) for reduction in self.kernel.reductions]

    def _leaf(self, x: Operand, here: list[Any], wanted: Wanted) -> Value:
        if isinstance(x, Constant):
            return self.number(x.value, x.dtype)
        if isinstance(x, Index):
            first = self.b.splat(self._place(x.strides, x.offset, here), self.lanes)
            step = x.strides[-1] if x.strides else 0
            return first + self.b.iota(INT64, self.lanes) * step if step else first
        assert isinstance(x, Load)
        return self.load(x.access, here, wanted)

    def number(self, number: Any, dtype: str) -> Value:
        """A number in every lane."""
        return Value(self.b, constant(number, type_of(element_type(dtype), self.lanes)))

    def nothing(self, reduction: Reduction) -> Value:
        """What a reduction starts from, in every lane."""
        dtype = self.kernel.slots[reduction.access.slot]
        return self.number(neutral(reduction.kind, dtype), dtype)

    def _place(self, strides: tuple[int, ...], offset: int, here: list[Any]) -> Value:
        total = self.b.index(offset)
        for i, stride in zip(here, strides, strict=True):
            if stride:
                total = total + self.b.index(i) * stride
        return total

    def address(self, access: Access, here: list[Any]) -> Pointer:
        """Where the first element of an access lies."""
        return self.pointers[access.slot] + self._place(access.strides, 0, here)

    def _mask(self, wanted: Wanted) -> Value | None:
        return self.b.first(wanted, self.lanes) if isinstance(wanted, int) else wanted

    def load(self, access: Access, here: list[Any], wanted: Wanted) -> Value:
        """A vector from a buffer."""
        step = access.strides[-1] if access.strides else 0
        address = self.address(access, here)
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

    def store(self, value: Value, access: Access, here: list[Any], wanted: Wanted) -> None:
        """A vector to a buffer."""
        if self.kernel.slots[access.slot] == "bool":
            value = self.b.convert(value, INT8)
        address, step = self.address(access, here), access.strides[-1] if access.strides else 0
        if step == 1:
            address.store(value, 0, self._mask(wanted))
            return
        for lane in range(self._count(wanted)):
            address.store(self.b.lane(value, lane), lane * step)
