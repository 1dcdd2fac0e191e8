"""What a group asks of native functions, as a whole or one share of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..codegen.gemm_plan import as_row
from ..codegen.target import Target
from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..leaves.leaf import by_positions, leaf_of, written_by
from ..loops.groups import Group
from ..loops.kernel import Access, Constant, Kernel, Load, Reduction, Store, reordered, shared_out
from .kernels import kernel_of
from .natives import FinishedProduct, Loop, Place, Product, Task, moved, product_workspace
from .products import operand_bases, product_of
from .regions import Way
from .scratch import Scratch, part_size


class Tasks:
    """Writes down the calls for the groups of a program whose values have their places."""

    def __init__(
        self,
        layouts: dict[Value, Layout],
        makers: dict[Value, Instruction],
        places: dict[Value, Place],
        stored: Iterable[Value],
        scratch: Scratch,
        target: Target,
    ) -> None:
        self.layouts = layouts
        self.makers = makers
        self.places = places
        self.stored = set(stored)
        self.scratch = scratch
        self.target = target

    def whole(self, group: Group) -> list[Task]:
        """All of a group's work."""
        return list(self._calls(group, None, 0))

    def share(self, group: Group, way: Way, part: int) -> list[Task]:
        """The work of one share of a group that is shared out in some way."""
        return list(self._calls(group, way, part))

    def collect(self, group: Group, way: Way) -> list[Task]:
        """What is left to do when all shares are done: reductions over the shared axis are put together."""
        tasks = []
        for value in way.partial:
            assert value.dtype is not None
            kind = self.makers[value].params.get("kind", "sum")
            step = part_size(value) // value.dtype.itemsize
            total = Reduction(kind, Access(1, (0, 1)), Load(Access(0, (step, 1))), (0,))
            kernel = Kernel((way.shares.parts, value.size), (value.dtype.name,) * 2, (), (), (total,))
            tasks.append(Task(Loop(kernel), (self.places[self.scratch[value]], self.places[self.layouts[value].base])))
        return tasks

    # -- one group --------------------------------------------------------------------------------------------------

    def _calls(self, group: Group, way: Way | None, part: int) -> Iterator[Task]:
        first = group.members[0]
        product = next((m for m in group.members if m.opcode == "matmul"), None)
        if product is not None:
            yield from self._product(group, product, way, part)
        elif first.opcode == "leaf":
            yield self._leaf(first, way, part)
        elif first.opcode == "cat":
            yield from self._cat(first, way, part)
        else:
            yield self._loop(group, way, part)

    def _loop(self, group: Group, way: Way | None, part: int) -> Task:
        kernel, places = self._kernel(group, way, part)
        return Task(Loop(kernel), places)

    def _kernel(self, group: Group, way: Way | None, part: int) -> tuple[Kernel, tuple[Place, ...]]:
        """The loop of a group and the places of its slots; with partial results of reductions in the shares' own."""
        places = self.places
        if way is not None and (way.partial or way.strip):
            own = {self.layouts[v].base: self._partial(v, part) for v in way.partial}
            places = {**places, **own}
            if way.strip is not None:
                places[way.strip] = self._strip(way.strip, way, part)
        kernel, buffers = kernel_of(group, self.layouts, self.makers, places, self.stored)
        return self._cut(kernel, buffers, way, part)

    def _cut(
        self, kernel: Kernel, buffers: list[Place], way: Way | None, part: int
    ) -> tuple[Kernel, tuple[Place, ...]]:
        if way is None:
            return kernel, tuple(buffers)
        begin, count = way.shares.run(part)
        share, slots = shared_out(kernel, way.axis, count)
        steps = [(buffers[slot], stride * begin * _itemsize(kernel.slots[slot])) for slot, stride in slots]
        return share, tuple(moved(place, offset) for place, offset in steps)

    def _partial(self, value: Value, part: int) -> Place:
        return moved(self.places[self.scratch[value]], part * part_size(value))

    def _strip(self, value: Value, way: Way, part: int) -> Place:
        """Where a value would begin of which the rows of one share lie where those of the others do."""
        assert value.dtype is not None
        return moved(self.places[value], -way.shares.run(part)[0] * value.shape[1] * value.dtype.itemsize)

    def _workspace(self, instruction: Instruction, way: Way | None, part: int) -> Place | None:
        """The scratch memory of a share."""
        value = self.scratch.get(instruction)
        if value is None:
            return None
        if way is None or way.strip is not None:
            return self.places[value]
        return moved(self.places[value], part * (value.size // way.shares.parts))

    # -- products ---------------------------------------------------------------------------------------------------

    def _product(self, group: Group, instruction: Instruction, way: Way | None, part: int) -> Iterator[Task]:
        product = product_of(instruction, self.layouts)
        if way is not None:
            product = product.share(way.axis - instruction.result.ndim, *way.shares.run(part))
        assert instruction.result.dtype is not None
        size = instruction.result.dtype.itemsize
        workspace = self._workspace(instruction, way, part)
        kernel, slots = self._kernel(group, way, part) if group.space is not None else (None, ())
        row = as_row(product.spec, self.target) if kernel is None or _walks_rows(kernel) else None
        if row is not None and kernel is not None:
            kernel = reordered(kernel, [1, 0])
        a, b = (self.places[base] for base in operand_bases(instruction, self.layouts))
        for start_a, start_b, start_c in product.starts:
            operands = moved(a, start_a * size), moved(b, start_b * size)
            if row is not None:
                operands = operands[::-1]
            if kernel is None:
                out = moved(self._whole(instruction.result, way, part), start_c * size)
                yield Task(Product(row or product.spec), (*operands, out, workspace))
            else:
                packed = product_workspace(product.spec, self.target, size)[0]
                sums = None if workspace is None else moved(workspace, packed)
                yield Task(FinishedProduct(row or product.spec, kernel), (*operands, sums, workspace, *slots))

    def _whole(self, result: Value, way: Way | None, part: int) -> Place:
        """Where a product's result begins."""
        if way is not None and way.strip is result:
            return self._strip(result, way, part)
        return self.places[result]

    # -- kernels written by hand ------------------------------------------------------------------------------------

    def _leaf(self, instruction: Instruction, way: Way | None, part: int) -> Task:
        leaf = leaf_of(instruction, self.layouts)
        workspace = self._workspace(instruction, way, part)
        taken = [(v.shape, self.layouts[v]) for v in instruction.operands]
        given = written_by(instruction, self.layouts)
        split = None if way is None else leaf.split()
        if way is None or split is None:
            operands, results = ([self._begin(layout) for _, layout in arrays] for arrays in (taken, given))
            return Task(leaf, tuple(leaf.arguments(operands, results, workspace)))
        begin, count = way.shares.run(part)

        def own(shape: tuple[int, ...], layout: Layout) -> Place:
            _, strides = by_positions(shape, layout.strides, split.size)
            return self._begin(layout, begin * strides[0])

        operands = [
            own(*array) if cut else self._begin(array[1]) for array, cut in zip(taken, split.operands, strict=True)
        ]
        results = [
            self._partial(array[1].base, part) if kind == "sum" else own(*array)
            for array, kind in zip(given, split.results, strict=True)
        ]
        leaf = split.share(count)
        return Task(leaf, tuple(leaf.arguments(operands, results, workspace)))

    def _begin(self, layout: Layout, further: int = 0) -> Place:
        """Where an array's first element lies, or one so many elements further on."""
        assert layout.base.dtype is not None
        return moved(self.places[layout.base], (layout.offset + further) * layout.base.dtype.itemsize)

    # -- joining ----------------------------------------------------------------------------------------------------

    def _cat(self, instruction: Instruction, way: Way | None, part: int) -> Iterator[Task]:
        """A copy of each operand to its place."""
        result, dim = instruction.result, instruction.params["dim"]
        begin = 0
        for operand in instruction.operands:
            if operand.size:
                yield self._copy(operand, result, begin * self.layouts[result].strides[dim], way, part)
            begin += operand.shape[dim]

    def _copy(self, operand: Value, whole: Value, offset: int, way: Way | None, part: int) -> Task:
        """Write a value into the memory of a larger one."""
        assert operand.dtype is not None
        constant = self.makers.get(self.layouts[operand].base)
        if constant is not None and constant.opcode == "constant":
            read: Any = Constant(constant.params["value"], operand.dtype.name)
            slots: tuple[str, ...] = ()
            places: list[Place] = []
        else:
            read = Load(Access(0, self.layouts[operand].strides))
            slots, places = (operand.dtype.name,), [self._begin(self.layouts[operand])]
        store = Store(Access(len(slots), self.layouts[whole].strides), read)
        kernel = Kernel(operand.shape, (*slots, operand.dtype.name), (), (store,), ())
        there = moved(self.places[whole], offset * operand.dtype.itemsize)
        share, cut = self._cut(kernel, [*places, there], way, part)
        return Task(Loop(share), cut)


def _walks_rows(kernel: Kernel) -> bool:
    """Whether everything that a kernel reads and writes lies from row to row as vectors do."""
    return all(strides[0] in (0, 1) for strides in kernel.strided())


def _itemsize(dtype: str) -> int:
    return int(np.dtype(dtype).itemsize)


__all__ = ["Tasks"]
