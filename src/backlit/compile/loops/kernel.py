"""A loop as plain data: an index space, what is read and written at each index, and what is computed between.

Two loops that are equal as data are one function of machine code: the layers of a network share theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """Element ``Σ index · strides`` of the buffer in a slot."""

    slot: int
    strides: Sizes


@dataclass(frozen=True)
class Load:
    """An element of a buffer."""

    access: Access


@dataclass(frozen=True)
class Index:
    """The number ``offset + Σ index · strides`` itself."""

    strides: Sizes
    offset: int = 0


@dataclass(frozen=True)
class Constant:
    """A number of a dtype."""

    value: float
    dtype: str


@dataclass(frozen=True)
class Computed:
    """The result of the operation at a place in the list."""

    place: int


@dataclass(frozen=True)
class Product:
    """The element of a matrix product that an epilogue is shown."""


Operand = Load | Index | Constant | Computed | Product


@dataclass(frozen=True)
class Operation:
    """One elementwise operation; ``dtype`` is that of its result."""

    opcode: str
    operands: tuple[Operand, ...]
    dtype: str


@dataclass(frozen=True)
class Store:
    """An operand written to a buffer at each index."""

    access: Access
    operand: Operand


@dataclass(frozen=True)
class Reduction:
    """An operand folded over the dimensions ``axes``, in which ``access`` does not move, by ``"sum"``, ``"prod"``,
    ``"max"`` or ``"min"``."""

    kind: str
    access: Access
    operand: Operand
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """A loop over ``sizes``. ``slots`` are the dtypes of the buffers that it is given."""

    sizes: Sizes
    slots: tuple[str, ...]
    operations: tuple[Operation, ...]
    stores: tuple[Store, ...]
    reductions: tuple[Reduction, ...]

    def strided(self) -> list[Sizes]:
        """The strides of everything that moves with the index."""
        loads = [x for o in self.operations for x in o.operands]
        loads += [s.operand for s in self.stores] + [r.operand for r in self.reductions]
        found = [x.access.strides for x in loads if isinstance(x, Load)]
        found += [x.strides for x in loads if isinstance(x, Index)]
        found += [s.access.strides for s in self.stores]
        return found + [r.access.strides for r in self.reductions]


def simplified(kernel: Kernel) -> Kernel:
    """The same loop with dimensions of size 1 left out and dimensions merged that everything walks through as one."""
    kept = [d for d, n in enumerate(kernel.sizes) if n != 1]
    groups: list[list[int]] = []
    strided = kernel.strided()
    reduced = [set(r.axes) for r in kernel.reductions]
    for d in kept:
        if groups and _one_run(kernel.sizes, groups[-1][-1], d, strided, reduced):
            groups[-1].append(d)
        else:
            groups.append([d])
    sizes = []
    for group in groups:
        total = 1
        for d in group:
            total *= kernel.sizes[d]
        sizes.append(total)
    last = [group[-1] for group in groups]
    return _reindexed(kernel, tuple(sizes), last)


def reordered(kernel: Kernel, order: list[int]) -> Kernel:
    """The same loop with its dimensions in another order."""
    return _reindexed(kernel, tuple(kernel.sizes[d] for d in order), order)


def _one_run(sizes: Sizes, a: int, b: int, strided: list[Sizes], reduced: list[set[int]]) -> bool:
    even = all(s[a] == s[b] * sizes[b] for s in strided)
    return even and all((a in axes) == (b in axes) for axes in reduced)


def _reindexed(kernel: Kernel, sizes: Sizes, dims: list[int]) -> Kernel:
    """``dims``: for each new dimension the old one whose strides it takes."""

    def pick(strides: Sizes) -> Sizes:
        return tuple(strides[d] for d in dims)

    return _mapped(
        kernel,
        sizes,
        lambda a: Access(a.slot, pick(a.strides)),
        lambda x: Index(pick(x.strides), x.offset),
        lambda axes: tuple(i for i, d in enumerate(dims) if d in axes),
    )


def _mapped(
    kernel: Kernel,
    sizes: Sizes,
    access: Callable[[Access], Access],
    index: Callable[[Index], Index],
    axes: Callable[[Sizes], Sizes],
) -> Kernel:
    """The same computation over other sizes, with accesses, positions and reduced axes exchanged."""

    def operand(x: Operand) -> Operand:
        if isinstance(x, Load):
            return Load(access(x.access))
        return index(x) if isinstance(x, Index) else x

    operations = [Operation(o.opcode, tuple(map(operand, o.operands)), o.dtype) for o in kernel.operations]
    stores = [Store(access(s.access), operand(s.operand)) for s in kernel.stores]
    reductions = [Reduction(r.kind, access(r.access), operand(r.operand), axes(r.axes)) for r in kernel.reductions]
    stores += [Store(r.access, r.operand) for r in reductions if not r.axes]  # nothing is left to fold
    reductions = [r for r in reductions if r.axes]
    return Kernel(sizes, kernel.slots, tuple(operations), tuple(stores), tuple(reductions))


def shared_out(kernel: Kernel, axis: int, count: int) -> tuple[Kernel, list[tuple[int, int]]]:
    """``count`` neighbouring positions along an axis, as a loop of its own.

    Returns:
        The loop, the same for every place where the positions begin, and for each of its slots the slot of the whole
        loop and the stride along the axis: by so much for each position the slot's memory begins further on.
    """
    slots: dict[tuple[int, int], int] = {}

    def access(a: Access) -> Access:
        key = (a.slot, a.strides[axis])
        return Access(slots.setdefault(key, len(slots)), a.strides)

    sizes = tuple(count if d == axis else n for d, n in enumerate(kernel.sizes))
    share = _mapped(kernel, sizes, access, lambda x: x, lambda axes: axes)
    dtypes = tuple(kernel.slots[slot] for slot, _ in slots)
    return replace(share, slots=dtypes), list(slots)
