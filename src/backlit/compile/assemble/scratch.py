"""Memory that groups need besides their operands and results: workspaces, and the shares' parts of reductions."""

from __future__ import annotations

import numpy as np

from ..codegen.target import Target
from ..ir.layout import Layout
from ..ir.program import Instruction, Value
from ..leaves.leaf import leaf_of
from .natives import product_workspace, whole_lines
from .products import product_of
from .regions import Region, Way

Scratch = dict[Instruction | Value, Value]
"""By instruction its workspace, for all shares one after the other; by result of a reduction the parts that the shares
make of it, each on cache lines of its own."""

_BYTES = np.dtype(np.uint8)


def scratch_of(regions: list[Region], layouts: dict[Value, Layout], target: Target) -> Scratch:
    """All scratch memory of a step, as values that live while their region runs."""
    found: Scratch = {}
    for region in regions:
        ways: list[Way | None] = [*region.ways] or [None] * len(region.groups)
        for group, way in zip(region.groups, ways, strict=True):
            for member in group.members:
                size = _workspace(member, way, layouts, target)
                if size:
                    found[member] = Value((size * region.parts,), _BYTES, "workspace")
            for value in () if way is None else way.partial:
                found[value] = Value((part_size(value) * region.parts,), _BYTES, "parts")
    return found


def part_size(value: Value) -> int:
    """Bytes between the parts of a reduction's result."""
    assert value.dtype is not None
    return whole_lines(value.size * value.dtype.itemsize)


def _workspace(member: Instruction, way: Way | None, layouts: dict[Value, Layout], target: Target) -> int:
    """Bytes that one share of an instruction needs."""
    sizes = {None} if way is None else {way.shares.run(0)[1], way.shares.run(way.shares.parts - 1)[1]}
    if member.opcode == "matmul":
        assert member.result.dtype is not None
        whole = product_of(member, layouts)
        specs = [
            whole.spec if way is None or count is None else whole.share(way.axis - member.result.ndim, 0, count).spec
            for count in sizes
        ]
        return max(sum(product_workspace(spec, target, member.result.dtype.itemsize)) for spec in specs)
    if member.opcode == "leaf":
        leaf, dtype = leaf_of(member, layouts), member.result.dtype
        assert dtype is not None
        split = None if way is None else leaf.split()
        leaves = [leaf if split is None or count is None else split.share(count) for count in sizes]
        return max(whole_lines(one.workspace(target) * dtype.itemsize) for one in leaves)
    return 0


__all__ = ["Scratch", "part_size", "scratch_of"]
