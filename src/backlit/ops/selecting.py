"""Whole slices at positions along a dimension, and elements under a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import where
from .definition import Sample, Tensor, apply, operation
from .elementwise import match, operand
from .indexing import LOOKED_UP, Index, IndexPut, IndexSum, check_range, index_put, integer_index, wrap_index
from .misuse import misuse
from .shape import broadcast_tensors, reshape, wrap_dim


@operation(
    **LOOKED_UP,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), 1, np.array([3, 0, 3])),
        Sample(rng.normal(size=(3, 4)), 0, np.array([1, 2])),
        Sample(rng.normal(size=(3,)), 0, np.array(2)),
    ],
)
def index_select(x: Any, dim: int, index: Any) -> Tensor:
    """The slices of a dimension at the positions in ``index`` (one-dimensional, not negative); a copy."""
    x = operand(x)
    dim, index = wrap_dim(dim, x.ndim, "index_select"), _vector(index, x, "index_select")
    if x.ndim == 0:
        return reshape(index_select(reshape(x, (1,)), dim, index), ())
    check_range(index, x.shape[dim], dim, "index_select")
    return apply(Index, (x, index), {"dims": (dim,)})


def _vector(index: Any, x: Any, name: str) -> Any:
    """A one-dimensional index of an integer dtype."""
    index = integer_index(index, x, name)
    if index.ndim > 1:
        raise misuse(name, f"the index must have one dimension, its shape is {tuple(index.shape)}.")
    return reshape(index, (1,)) if index.ndim == 0 else index


@operation(
    formula="y = x + α Σ source[k] at index[k]",
    gate="adds: x passes, source receives the gradient of the slices it was added to",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), 1, np.array([3, 0, 3]), rng.normal(size=(3, 3))),
        Sample(rng.normal(size=(3, 4)), 0, np.array([1]), rng.normal(size=(1, 4)), alpha=2.0),
    ],
)
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """A copy of ``x`` with ``alpha * source`` added to the slices at ``index`` along ``dim``; duplicates add up."""
    x, source = match(x, source)
    if x.ndim == 0:
        return reshape(index_add(reshape(x, (1,)), dim, index, reshape(source, (-1,)), alpha=alpha), ())
    dim, index = wrap_dim(dim, x.ndim, "index_add"), _vector(index, x, "index_add")
    wanted = (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :])
    if source.shape != wanted:
        raise misuse(
            "index_add",
            f"source has shape {tuple(source.shape)}, but {index.shape[0]} indices in dimension "
            f"{dim} of a tensor with shape {tuple(x.shape)} need {wanted}.",
        )
    check_range(index, x.shape[dim], dim, "index_add")
    return x + apply(IndexSum, (source if alpha == 1 else source * alpha, index), {"shape": x.shape, "dims": (dim,)})


@operation(
    IndexPut,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), 1, np.array([3, 0, 3]), rng.normal(size=(3, 3))),
    ],
)
def index_copy(x: Any, dim: int, index: Any, source: Any) -> Tensor:
    """A copy of ``x`` with the slices at ``index`` along ``dim`` replaced by those of ``source``."""
    x = operand(x)
    if x.ndim == 0:
        return reshape(index_copy(reshape(x, (1,)), dim, index, source), ())
    dim, index = wrap_dim(dim, x.ndim, "index_copy"), _vector(index, x, "index_copy")
    check_range(index, x.shape[dim], dim, "index_copy")
    return index_put(x, (*[slice(None)] * dim, index), source)


@operation(
    IndexPut,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), 1, np.array([3, 0]), 2.5),
        Sample(rng.normal(size=(3, 4)), 0, np.array([1]), rng.normal(size=())),
    ],
)
def index_fill(x: Any, dim: int, index: Any, value: Any) -> Tensor:
    """A copy of ``x`` with the slices at ``index`` along ``dim`` filled with one value."""
    x = operand(x)
    if x.ndim == 0:
        return reshape(index_fill(reshape(x, (1,)), dim, index, value), ())
    dim, index = wrap_dim(dim, x.ndim, "index_fill"), _vector(index, x, "index_fill")
    check_range(index, x.shape[dim], dim, "index_fill", -x.shape[dim])
    value = value if hasattr(value, "dtype") else wrap_index(np.asarray(value, x.dtype), x)
    return index_put(x, (*[slice(None)] * dim, index), value)


# -- masks --------------------------------------------------------------------------------------------------------


def _mask(mask: Any, name: str) -> Any:
    mask = operand(mask)
    if mask.dtype.kind != "b":
        raise misuse(name, f"the mask must be boolean, it is {mask.dtype.name}.")
    return mask


@operation(
    formula="y = value where mask, else x",
    gate="routes: x passes where the mask is False, value takes the rest",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.random((4,)) < 0.5, 2.0),
        Sample(rng.normal(size=(3, 4)), rng.random((3, 4)) < 0.5, rng.normal(size=())),
    ],
)
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """A copy of ``x`` with ``value`` (a number or a 0-d tensor) wherever the mask, broadcast, is True."""
    x, mask = operand(x), _mask(mask, "masked_fill")
    if hasattr(value, "dtype"):
        if value.ndim:
            raise misuse("masked_fill", f"the value must be a number or 0-d, its shape is {tuple(value.shape)}.")
        value = value if value.dtype == x.dtype else value.astype(x.dtype)
    elif x.dtype.kind != "f":
        value = wrap_index(np.asarray(value, x.dtype), x)
    return where(mask, value, x)


@operation(
    formula="y = the elements of x where mask",
    gate="routes: the selected elements receive the upstream gradient, all others 0",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.random((4,)) < 0.6),
        Sample(rng.normal(size=(3, 1)), rng.random((3, 4)) < 0.5),
    ],
)
def masked_select(x: Any, mask: Any) -> Tensor:
    """The elements where the mask is True (both broadcast), in one dimension."""
    x, mask = broadcast_tensors(x, _mask(mask, "masked_select"))
    return apply(Index, (x, mask), {"dims": (0,)})
