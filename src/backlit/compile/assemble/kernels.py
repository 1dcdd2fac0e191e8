"""A group of loop instructions as a kernel: operands become loads, members operations, and what others need stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ir.layout import Layout, broadcast_strides
from ..ir.program import Instruction, Value
from ..loops.groups import Group
from ..loops.kernel import (
    Access,
    Computed,
    Constant,
    Index,
    Kernel,
    Load,
    Operand,
    Operation,
    Product,
    Reduction,
    Store,
)
from .natives import Place, moved


def kernel_of(
    group: Group, layouts: dict[Value, Layout], makers: dict[Value, Instruction], places: Any, stored: Iterable[Value]
) -> tuple[Kernel, list[Place]]:
    """The kernel of a group and the buffers for its slots, in order."""
    return _Writer(group, layouts, makers, places).kernel(set(stored))


class _Writer:
    def __init__(
        self, group: Group, layouts: dict[Value, Layout], makers: dict[Value, Instruction], places: Any
    ) -> None:
        self.space: tuple[int, ...] = group.space or ()
        self.group = group
        self.layouts = layouts
        self.makers = makers
        self.places = places
        self.slots: dict[tuple[Place, str], int] = {}
        self.operations: list[Operation] = []
        self.place_of: dict[Value, int] = {}
        self.product: Value | None = None

    def kernel(self, stored: set[Value]) -> tuple[Kernel, list[Place]]:
        stores, reductions = [], []
        for member in self.group.members:
            value = member.result
            if member.opcode == "reduce":
                reductions.append(self.reduction(member))
                continue
            if member.opcode == "matmul":
                self.product = value
                if value in stored:
                    stores.append(Store(self.access(value, self.layouts[value].strides, 0), Product()))
                continue
            assert value.dtype is not None
            operands = tuple(self.operand(x) for x in member.operands)
            self.place_of[value] = len(self.operations)
            self.operations.append(Operation(member.opcode, operands, value.dtype.name))
            if value in stored:
                access = self.access(value, self.layouts[value].strides, 0)
                stores.append(Store(access, Computed(self.place_of[value])))
        dtypes = tuple(dtype for _, dtype in self.slots)
        made = Kernel(self.space, dtypes, tuple(self.operations), tuple(stores), tuple(reductions))
        return made, [place for place, _ in self.slots]

    def operand(self, x: Value) -> Operand:
        """A result of this loop, a constant, a position, or an element in memory."""
        if x is self.product:
            return Product()
        if x in self.place_of:
            return Computed(self.place_of[x])
        layout = self.layouts[x]
        maker = self.makers.get(layout.base)
        strides = broadcast_strides(x.shape, layout.strides, self.space)
        if maker is not None and maker.opcode == "constant":
            assert x.dtype is not None
            return Constant(maker.params["value"], x.dtype.name)
        if maker is not None and maker.opcode == "iota":
            return Index(strides, layout.offset)
        return Load(self.access(layout.base, strides, layout.offset))

    def access(self, base: Value, strides: tuple[int, ...], offset: int) -> Access:
        """An access through a slot that begins at its first element, so that loops over other parts are the same."""
        assert base.dtype is not None
        begin = moved(self.places[base], offset * base.dtype.itemsize)
        return Access(self.slots.setdefault((begin, base.dtype.name), len(self.slots)), strides)

    def reduction(self, member: Instruction) -> Reduction:
        value, axes = member.result, member.params["axes"]
        layout = self.layouts[value]
        strides = tuple(0 if i in axes else s for i, s in enumerate(layout.strides))
        access = self.access(layout.base, strides, layout.offset)
        return Reduction(member.params["kind"], access, self.operand(member.operands[0]), axes)
