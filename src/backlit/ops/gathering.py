"""Looking up and placing single elements along a dimension: gather, scatter, take, embedding, nonzero, one_hot."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..errors import UnsupportedError
from ..graph import mode
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import match, operand
from .indexing import Index, check_range, integer_index, wrap_index
from .misuse import misuse
from .scatter_sum import last_writers
from .shape import clone, expand, reshape, wrap_dim
from .slicing import Slice


def positions(index: np.ndarray, shape: tuple[int, ...], dim: int) -> np.ndarray:
    """The row-major position in ``shape`` of each entry of an index: its own place, but at ``index`` along ``dim``."""
    found = np.zeros((1,) * index.ndim, np.intp)
    step = 1
    for d in range(index.ndim - 1, -1, -1):
        if d == dim:
            found = found + index * step
        else:
            found = found + np.arange(index.shape[d]).reshape(-1, *(1,) * (index.ndim - 1 - d)) * step
        step *= shape[d]
    return found


class Gather(Op):
    """One element for each entry of an index, from the entry's own place but at ``index`` along a dimension."""

    formula = "y[i, j] = x[index[i, j], j] along the first dimension"
    gate = "routes: each element receives the sum of the gradients of its copies"
    gradients: ClassVar = {"x": "placed(g); placed: added up at the indexed places, zeros elsewhere"}

    def forward(x, index, *, dim):
        return x.reshape(-1)[positions(index, x.shape, dim)] if x.flags.c_contiguous else _along(x, index, dim)

    def vjp_x(ctx, g, index):
        return apply(GatherSum, (g, index), {"shape": ctx.shapes[0], **ctx.params})


def _along(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    cropped = x[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape))]
    return np.take_along_axis(cropped, index, dim)


class GatherSum(Op):
    """Zeros with elements added along a dimension at ``index``; where positions meet, values add up."""

    name = "gather_sum"
    formula = "y[index[i, j], j] += x[i, j] along the first dimension, from zeros"
    gate = "copies: each value receives the upstream gradient of the element it was added to"

    def forward(x, index, *, shape, dim):
        out = np.zeros(shape, x.dtype)
        flat = positions(index, shape, dim)
        if index.shape[dim] == 1:  # one entry a line: no position occurs twice
            out.reshape(-1)[flat] = x
        else:
            np.add.at(out.reshape(-1), flat.reshape(-1), x.reshape(-1))
        return out

    def vjp_x(ctx, g, index):
        return apply(Gather, (g, index), {"dim": ctx.params["dim"]})


class Scatter(Op):
    """A copy with elements replaced along a dimension at ``index``; where positions meet, the last value stays."""

    formula = "y = x, except y[index[i, j], j] = src[i, j] along the first dimension"
    gate = "routes: replaced elements pass their gradient to src, the others to x; overwritten values receive 0"

    def forward(x, src, index, *, dim):
        out = x.copy()
        out.reshape(-1)[np.ascontiguousarray(positions(index, x.shape, dim))] = src  # assigned in memory order
        return out

    def vjp(ctx, g, index):
        dim, to_x, to_src = ctx.params["dim"], None, None
        if ctx.edges[0] is not None:
            to_x = apply(Scatter, (g, 0.0, index), ctx.params)
        if ctx.edges[1] is not None:
            to_src = apply(Gather, (g, index), ctx.params)
            places = positions(getattr(index, "_data", index), ctx.shapes[0], dim)
            stays = last_writers(places, int(np.prod(ctx.shapes[0])))
            if stays is not None:
                to_src = to_src * stays.astype(to_src.dtype)
            if ctx.shapes[1] == () != to_src.shape:
                to_src = to_src.sum()
        return [to_x, to_src, None]

    def jvp(ctx, tangents, index):
        to_x, to_src, _ = tangents
        if to_x is None:
            to_x = constant(np.zeros(ctx.shapes[0], ctx.dtype))
        return apply(Scatter, (to_x, 0.0 if to_src is None else to_src, index), ctx.params)


def _along_dim(x: Any, dim: int, index: Any, name: str, like: Any = None) -> tuple[Any, int, Any]:
    """Check an index for the operations along a dimension: dimensions, sizes (also against ``src``), range."""
    x, index = operand(x), integer_index(index, x, name)
    dim = wrap_dim(dim, x.ndim, name)
    if x.ndim == 0 or index.ndim == 0:
        x, index = (reshape(t, (1,)) if t.ndim == 0 else t for t in (x, index))
    unfit = index.ndim != x.ndim or any(d != dim and n > x.shape[d] for d, n in enumerate(index.shape))
    if unfit or (like is not None and (like.ndim != index.ndim or _exceeds(index, like))):
        beside = "" if like is None else f" and src {tuple(like.shape)}"
        raise misuse(
            name,
            f"the tensor has shape {tuple(x.shape)}{beside}, the index {tuple(index.shape)}; the "
            f"index needs as many dimensions and must not be larger, except along dimension {dim} of the tensor.",
        )
    check_range(index, x.shape[dim], dim, name)
    return x, dim, index


def _exceeds(index: Any, src: Any) -> bool:
    return any(n > m for n, m in zip(index.shape, src.shape, strict=True))


def _cropped(src: Any, shape: tuple[int, ...]) -> Any:
    return src if src.shape == shape else apply(Slice, (src,), {"key": (*[slice(n) for n in shape], ...)})


def _index(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, size=(2, 4))


@operation(
    Gather,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), 0, _index(rng)),
        Sample(rng.normal(size=(3, 4)), -1, np.array([[1], [0], [1]])),
        Sample(rng.normal(size=(3, 4, 2)), 1, rng.integers(0, 4, size=(2, 5, 2))),
        Sample(rng.normal(size=(3,)), 0, np.array([], np.int64)),
        Sample(rng.normal(size=()), 0, np.array(0)),
    ],
)
def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """``out[i][j] = x[index[i][j]][j]`` for ``dim`` 0, ``x[i][index[i][j]]`` for 1, and so on.

    Args:
        x: any shape.
        dim: the dimension along which to look up.
        index: integers, not negative, as many dimensions as ``x``, in the others not larger than it. The result has
            its shape.
        sparse_grad: must be False.
    """
    if sparse_grad:
        raise UnsupportedError("gather: sparse gradients are not supported; leave sparse_grad=False.")
    shape = integer_index(index, x, "gather").shape
    if 0 in shape:  # nothing to look up, whatever the shape
        return reshape(apply(Slice, (reshape(operand(x), (-1,)),), {"key": (slice(0, 0), ...)}), shape)
    x, dim, index = _along_dim(x, dim, index, "gather")
    out = apply(Gather, (x, index), {"dim": dim})
    return out if out.shape == shape else reshape(out, shape)


def _scatter_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(rng.normal(size=(3, 4)), 0, _index(rng), rng.normal(size=(2, 4))),
        Sample(rng.normal(size=(3, 4)), 1, np.array([[1, 1], [0, 3]]), rng.normal(size=(3, 3))),
    ]


@operation(
    Scatter,
    samples=lambda rng: [
        *_scatter_samples(rng),
        Sample(rng.normal(size=(3, 4)), 0, _index(rng), 1.5),
        Sample(rng.normal(size=(3, 4)), 0, _index(rng), value=rng.normal(size=())),
        Sample(rng.normal(size=(3, 4)), 0, _index(rng), rng.normal(size=(2, 4)), reduce="add"),
    ],
)
def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """A copy of ``x`` with ``out[index[i][j]][j] = src[i][j]`` for ``dim`` 0, and so on.

    Args:
        x: any shape.
        dim: the dimension along which to place.
        index: integers, not negative, as many dimensions as ``x`` and ``src``, nowhere larger than ``src``.
        src: what to place (a tensor, or a number). Where positions meet, the last value stays, and the gradient of the
            others is 0.
        value: a number to place, instead of ``src``.
        reduce: ``"add"`` adds instead; see :func:`scatter_add`.
    """
    src = value if src is None else src
    if src is None:
        raise misuse("scatter", "give src or value.")
    if reduce not in (None, "add"):
        raise UnsupportedError(f"scatter: reduce={reduce!r} is not supported; use 'add', or leave it out.")
    x = operand(x)
    index = integer_index(index, x, "scatter")
    if not hasattr(src, "dtype"):
        src = wrap_index(np.asarray(src, x.dtype), x)
    single = src.ndim == 0 and index.ndim > 0
    if src.dtype != x.dtype:
        src = src.astype(x.dtype)
    if reduce == "add":
        return scatter_add(x, dim, index, expand(src, index.shape) if single else src)
    if 0 in index.shape:
        return clone(x)
    shape = x.shape
    if src.ndim == 0 and not single:
        src = reshape(src, (1,))
    x, dim, index = _along_dim(x, dim, index, "scatter", None if single else src)
    out = apply(Scatter, (x, src if single else _cropped(src, index.shape), index), {"dim": dim})
    return out if out.shape == shape else reshape(out, shape)


@operation(
    formula="y = x; y[index[i, j], j] += src[i, j] along the first dimension",
    gate="adds: x passes, src receives the gradient of the elements it was added to",
    samples=_scatter_samples,
)
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """A copy of ``x`` with ``out[index[i][j]][j] += src[i][j]`` for ``dim`` 0, and so on; duplicates add up."""
    x, src = match(x, src)
    shape = x.shape
    index = integer_index(index, x, "scatter_add")
    if 0 in index.shape:
        return clone(x)
    if src.ndim == 0:
        src = reshape(src, (1,))
    x, dim, index = _along_dim(x, dim, index, "scatter_add", src)
    out = x + apply(GatherSum, (_cropped(src, index.shape), index), {"shape": x.shape, "dim": dim})
    return out if out.shape == shape else reshape(out, shape)


@operation(
    formula="y[k] = x.flat[index[k]]",
    gate="routes: each element receives the sum of the gradients of its copies",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), np.array([[0, 11], [-1, 5]])),
        Sample(rng.normal(size=(3, 4)), np.array(3)),
    ],
)
def take(x: Any, index: Any) -> Tensor:
    """The elements at positions of the flattened tensor, in the shape of ``index``; negative ones count back."""
    x = operand(x)
    index = integer_index(index, x, "take")
    size = int(np.prod(x.shape))
    check_range(index, size, 0, "take", -size)
    return apply(Index, (reshape(x, (-1,)), index), {"dims": (0,)})


def _from_front(index: Any, x: Any, dim: int | None) -> Any:
    """An index in which negative positions along a dimension are counted from the front."""
    array = getattr(index, "_data", index)
    size = math.prod(x.shape) if dim is None else x.shape[wrap_dim(dim, x.ndim, "take_along_dim")] if x.ndim else 1
    check_range(array, size, 0 if dim is None else dim, "take_along_dim", -size)
    if 0 in array.shape or array.min() >= 0:
        return index
    if mode.tracer is not None:
        mode.tracer.refuse("an index with negative positions")
    return wrap_index(np.where(array < 0, array + size, array), x)


@operation(
    Gather,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), np.array([[-2]]), 0),
        Sample(rng.normal(size=(3, 4)), np.array([[2], [0], [1]]), 1),
        Sample(rng.normal(size=(3, 4)), np.array([5, 0, 5])),
        Sample(rng.normal(size=(1, 4)), rng.integers(0, 4, size=(3, 2)), 1),
    ],
)
def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Tensor:
    """As :func:`gather`, with the tensor and the indices broadcast against each other except along ``dim``.

    Without ``dim``, positions in the flattened tensor.
    """
    x = operand(x)
    indices = _from_front(integer_index(indices, x, "take_along_dim"), x, dim)
    if dim is None:
        return gather(reshape(x, (-1,)), 0, reshape(indices, (-1,)))
    dim = wrap_dim(dim, x.ndim, "take_along_dim")
    if x.ndim != indices.ndim:
        raise misuse(
            "take_along_dim",
            f"the tensor has shape {tuple(x.shape)}, the indices {tuple(indices.shape)}; "
            "they must have as many dimensions.",
        )
    wide = [max(n, m) if min(n, m) else 0 for n, m in zip(x.shape, indices.shape, strict=True)]
    x = expand(x, (*wide[:dim], x.shape[dim], *wide[dim + 1 :]))
    return gather(x, dim, expand(indices, (*wide[:dim], indices.shape[dim], *wide[dim + 1 :])))
