"""Picking entries along a dimension by index, and putting gradients back where the entries came from.

The results of ``max(dim)``, ``sort``, ``topk`` and their relatives are entries of their input. Each finds indices first
(which have no gradients) and picks by them; indices never repeat within a line, so putting back needs no addition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .definition import Op, Tensor, apply


class Selected(NamedTuple):
    """Entries of a tensor and where along the dimension they were found."""

    values: Tensor
    indices: Tensor


class Pick(Op):
    """Entries along a dimension, by index; ``kept`` says that the indices have that dimension."""

    formula = "yᵢ = x[indexᵢ]"
    gate = "routes each upstream gradient to the entry that was picked"

    def forward(x, index, *, axis, kept):
        if x.ndim == 0:
            return x.copy()
        picked = np.take_along_axis(x, index if kept else np.expand_dims(index, axis), axis)
        return picked if kept else picked.squeeze(axis)

    def vjp_x(ctx, g, index):
        return apply(PutBack, (g, index), {**ctx.params, "shape": ctx.shapes[0]})


class PutBack(Op):
    """The transpose of picking: zeros, with the given entries where they were picked."""

    name = "put_back"
    formula = "y[indexᵢ] = xᵢ, 0 elsewhere"
    gate = "picks the upstream gradient at the places that were filled"

    def forward(x, index, *, axis, kept, shape):
        if not shape:
            return x.copy()
        if not kept:
            x, index = np.expand_dims(x, axis), np.expand_dims(index, axis)
        out = np.zeros(shape, x.dtype)
        np.put_along_axis(out, index, x, axis)
        return out

    def vjp_x(ctx, g, index):
        return apply(Pick, (g, index), {"axis": ctx.params["axis"], "kept": ctx.params["kept"]})


def pick(op: type[Pick], x: Any, index: Any, axis: int | None, kept: bool) -> Selected:
    """What ``op``, a kind of :class:`Pick`, selects from ``x`` by ``index``, together with the index."""
    return Selected(apply(op, (x, index), {"axis": axis, "kept": kept}), index)
