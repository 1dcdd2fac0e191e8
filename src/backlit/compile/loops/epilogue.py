"""A kernel as the epilogue of a matrix product: computed on each tile before it leaves the registers.

The kernel's space is the product's rows and columns. Reductions are put together in memory, tile by tile.
"""

from __future__ import annotations

from typing import Any

from ..codegen.gemm import emit_gemm
from ..codegen.gemm_plan import Gemm
from ..codegen.gemm_tile import Tile, Touch
from ..codegen.target import Target
from ..codegen.values import Pointer, Value
from ..codegen.vector import VectorBuilder, function
from .arithmetic import across, combine, memory_type
from .emit import fill_neutral
from .kernel import Kernel, Load, Reduction
from .points import Points, Spot


def emit_product(module: Any, name: str, spec: Gemm, kernel: Kernel, target: Target) -> None:
    """Define ``void name(A, B, partial, workspace, …)`` with one more pointer for each slot of the kernel.

    ``partial`` holds sums that are not complete yet, where the product is computed in several runs.
    """
    slots = [memory_type(d) for d in kernel.slots]
    lanes = target.lanes(spec.dtype)

    def epilogue(b: VectorBuilder, tile: Tile, *pointers: Pointer) -> None:
        _Epilogue(Points(b, list(pointers), kernel, lanes)).run(tile)

    inner = emit_gemm(module, f"{name}.tiles", spec, target, epilogue, slots, _touched(kernel))
    inner.linkage = "internal"
    with function(module, name, [spec.dtype] * 4 + slots, target, spec.dtype) as (b, *pointers):
        points = Points(b, pointers[4:], kernel, lanes)
        for reduction in kernel.reductions:
            fill_neutral(points, kernel, reduction)
        b.ir.call(inner, [p.ir for p in pointers])


def _touched(kernel: Kernel) -> list[Touch]:
    """The arrays that a kernel goes through as the tiles do, row after row, and their rows' distances."""
    writes = [s.access for s in kernel.stores]
    loads = [x.access for o in kernel.operations for x in o.operands if isinstance(x, Load)]
    found = dict.fromkeys(a for a in (*writes, *loads) if a.strides[0] > 0 and a.strides[1] == 1)
    return [Touch(a.slot, a.strides[0], a in writes) for a in found]


class _Epilogue:
    def __init__(self, points: Points) -> None:
        self.points = points
        self.b = points.b
        self.kernel = points.kernel

    def run(self, tile: Tile) -> None:
        spot = Spot([tile.row, tile.column])
        for v, mask in enumerate(tile.masks):
            totals: dict[int, Value] = {}
            for i, values in enumerate(tile.values):
                ahead = (i, v * self.points.lanes)
                for r, part in enumerate(self.points.at(spot, ahead, mask, values[v])):
                    self._reduce(r, part, spot, ahead, mask, totals)
            for r, total in totals.items():
                self._add(self.kernel.reductions[r], total, spot, (0, v * self.points.lanes), mask)

    def _reduce(
        self, r: int, part: Value, spot: Spot, ahead: tuple[int, int], mask: Value | None, totals: dict[int, Value]
    ) -> None:
        """Rows of the tile are put together in registers where rows are reduced."""
        reduction = self.kernel.reductions[r]
        if 0 in reduction.axes:
            before = totals.get(r)
            totals[r] = part if before is None else combine(self.b, reduction.kind, before, part)
        else:
            self._add(reduction, part, spot, ahead, mask)

    def _add(self, reduction: Reduction, part: Value, spot: Spot, ahead: tuple[int, int], mask: Value | None) -> None:
        b, access = self.b, reduction.access
        if 1 not in reduction.axes:
            before = self.points.load(access, spot, ahead, mask)
            self.points.store(combine(b, reduction.kind, before, part), access, spot, ahead, mask)
            return
        if mask is not None:
            part = b.where(mask, part, self.points.nothing(reduction))
        address = self.points.address(access, spot, ahead)
        address.store(combine(b, reduction.kind, address.load(0, 0), across(b, reduction.kind, part)))


__all__ = ["emit_product"]
