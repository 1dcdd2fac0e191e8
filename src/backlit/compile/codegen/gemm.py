"""Matrix products from register tiles, with what follows them computed before the tile leaves its registers.

:func:`emit_gemm` defines ``void name(A, B, C, workspace, *extras)``. An *epilogue* is a Python function that is shown
each finished :class:`Tile` and returns what to store instead: bias, activation, a residual, or further outputs that it
stores itself through the pointers of ``extras``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from .gemm_blocks import BlockedProduct, alike, pack_panel
from .gemm_dots import DotProducts
from .gemm_plan import Gemm, Panel, Plan, packed_elements, plan
from .gemm_sparse import SparseProduct
from .gemm_tile import Epilogue, Tile, Touch
from .gemm_turned import TurnedProduct
from .target import Target, host_target
from .values import Pointer
from .vector import VectorBuilder, function


def emit_gemm(
    module: ir.Module,
    name: str,
    spec: Gemm,
    target: Target | None = None,
    epilogue: Epilogue | None = None,
    extras: Sequence[DTypeLike] = (),
    touched: Sequence[Touch] = (),
) -> ir.Function:
    """Define the product as a function of ``(A, B, C, workspace, *extras)``, pointers all.

    The workspace holds ``workspace_size(spec, target)`` elements, aligned to vectors for speed. C must not overlap A
    or B, and holds partial sums where k is cut into several runs. What is ``touched`` by the epilogue is asked for from
    memory while a tile is summed.
    """
    target = target or host_target()
    cut = plan(spec, target)
    pointers = [spec.dtype] * 4 + list(extras)
    with function(module, name, pointers, target, spec.dtype) as (b, a, given, c, workspace, *others):
        if cut.sparse is not None:
            SparseProduct(b, spec, cut, [a, given, c, workspace, *others], epilogue, touched).emit()
        elif cut.dots:
            DotProducts(b, spec, [a, given, c, *others], epilogue).emit()
        elif cut.turned is not None:
            TurnedProduct(b, spec, cut, [a, given, c, workspace, *others], epilogue).emit()
        else:
            BlockedProduct(b, spec, cut, [a, given, c, workspace, *others], epilogue, touched).emit()
    return module.globals[name]


def emit_pack(module: ir.Module, name: str, spec: Gemm, target: Target | None = None) -> ir.Function:
    """Define ``void name(B, packed)``, which packs B for products with ``b_packed``, ``packed_size(spec)`` elements."""
    cut = plan(spec, target or host_target())
    with function(module, name, [spec.dtype] * 2, target, spec.dtype) as (b, given, packed):
        _pack(b, spec, cut, given, packed)
    return module.globals[name]


def workspace_size(spec: Gemm, target: Target | None = None) -> int:
    """Elements of scratch memory that :func:`emit_gemm`'s function needs."""
    return plan(spec, target or host_target()).workspace(spec)


def packed_size(spec: Gemm, target: Target | None = None) -> int:
    """Elements of B when packed."""
    return packed_elements(plan(spec, target or host_target()), spec)


def _pack(b: VectorBuilder, spec: Gemm, cut: Plan, given: Pointer, packed: Pointer) -> None:
    """All panels, each whole along k: equal ones in a loop, a narrower last one behind it."""
    for start, stop, panel in alike(cut.panels):

        def one(j: Any, panel: Panel = panel) -> None:
            source = given + j * (cut.width * spec.b_strides[1])
            pack_panel(b, spec, panel, source, packed + j * (cut.width * spec.k), spec.k)

        b.loop(start, stop, 1, one)


__all__ = ["Epilogue", "Gemm", "Tile", "Touch", "emit_gemm", "emit_pack", "packed_size", "workspace_size"]
