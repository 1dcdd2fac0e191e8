"""Looking up and placing single elements along a dimension: gather, scatter, take, embedding, nonzero, one_hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OperationError, OutOfRangeError, UnsupportedError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import match, operand
from .indexing import Index, IndexSum, check_range, integer_index
from .scatter_sum import last_writers
from .shape import expand, reshape, wrap_dim
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
    small = index.ndim != x.ndim or any(d != dim and n > x.shape[d] for d, n in enumerate(index.shape))
    if index.size and (small or (like is not None and (like.ndim != index.ndim or _exceeds(index, like)))):
        beside = "" if like is None else f" and src {tuple(like.shape)}"
        raise OperationError(
            f"{name} at {describe(mark())}: the tensor has shape {tuple(x.shape)}{beside}, the index {tuple(index.shape)}; the "
            f"index needs as many dimensions and must not be larger, except along dimension {dim} of the tensor."
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
        raise OperationError(f"scatter at {describe(mark())}: give src or value.")
    if reduce not in (None, "add"):
        raise UnsupportedError(f"scatter: reduce={reduce!r} is not supported; use 'add', or leave it out.")
    x = operand(x)
    single = not hasattr(src, "dtype") or src.ndim == 0
    if single and x.ndim:
        src = operand(src) if isinstance(x, Tensor) else np.asarray(getattr(src, "_data", src))
    if src.dtype != x.dtype:
        src = src.astype(x.dtype)
    if reduce == "add":
        index = integer_index(index, x, "scatter")
        return scatter_add(x, dim, index, expand(src, index.shape) if single else src)
    shape = x.shape
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
    if src.ndim == 0:
        src = reshape(src, (1,))
    x, dim, index = _along_dim(x, dim, index, "scatter_add", src)
    if not index.size:
        return reshape(x + 0, shape)
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
    """The elements at positions of the flattened tensor, in the shape of ``index``; negative ones count from the end."""
    x = operand(x)
    index = integer_index(index, x, "take")
    size = int(np.prod(x.shape))
    check_range(index, size, 0, "take", -size)
    return apply(Index, (reshape(x, (-1,)), index), {"dims": (0,)})


@operation(
    Gather,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.integers(0, 3, size=(2, 1)).reshape(1, 2)[:, :1], 0),
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
    indices = integer_index(indices, x, "take_along_dim")
    if dim is None:
        return gather(reshape(x, (-1,)), 0, reshape(indices, (-1,)))
    dim = wrap_dim(dim, x.ndim, "take_along_dim")
    if x.ndim != indices.ndim:
        raise OperationError(
            f"take_along_dim at {describe(mark())}: the tensor has shape {tuple(x.shape)}, the indices {tuple(indices.shape)}; "
            "they must have as many dimensions."
        )
    wide = [max(n, m) if min(n, m) else 0 for n, m in zip(x.shape, indices.shape, strict=True)]
    x = expand(x, (*wide[:dim], x.shape[dim], *wide[dim + 1 :]))
    return gather(x, dim, expand(indices, (*wide[:dim], indices.shape[dim], *wide[dim + 1 :])))


# -- embedding ----------------------------------------------------------------------------------------------------


class Embedding(Op):
    """Rows of a table."""

    formula = "y[k] = W[index[k]]"
    gate = "routes: each row receives the sum of the gradients of its copies; the padding row receives 0"

    def forward(index, weight, *, padding_idx):
        return weight.take(index, axis=0) if weight.flags.c_contiguous else weight[index]

    def vjp_weight(ctx, g, index):
        padding = ctx.params["padding_idx"]
        total = apply(IndexSum, (g, index), {"shape": ctx.shapes[1], "dims": (0,)})
        return total if padding is None else _without_row(total, padding)

    def jvp_weight(ctx, t, index):
        padding = ctx.params["padding_idx"]
        return apply(Embedding, (index, t if padding is None else _without_row(t, padding)), ctx.params)


def _without_row(weight: Any, row: int) -> Any:
    """A copy with one row of zeros; on arrays, which the rule has just made, in place."""
    if isinstance(weight, Tensor):
        from .indexing import index_put

        return index_put(weight, row, 0.0)
    weight[row] = 0
    return weight


@operation(
    Embedding,
    samples=lambda rng: [
        Sample(rng.integers(0, 5, size=(2, 4)), rng.normal(size=(5, 3))),
        Sample(np.array(2), rng.normal(size=(5, 3))),
        Sample(np.zeros((0, 2), np.int64), rng.normal(size=(5, 3))),
    ],
)
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table, one for each index.

    Args:
        input: integers, any shape.
        weight: shape (number of rows, width).
        padding_idx: a row that receives no gradient.
        max_norm, norm_type, scale_grad_by_freq, sparse: accepted at their defaults only.

    Returns:
        Shape (*input.shape, width).
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise UnsupportedError("embedding: max_norm, scale_grad_by_freq and sparse gradients are not supported.")
    weight = operand(weight)
    if weight.ndim != 2:
        raise OperationError(
            f"embedding at {describe(mark())}: the table must be a matrix, its shape is {tuple(weight.shape)}."
        )
    index = integer_index(input, weight, "embedding")
    rows = weight.shape[0]
    check_range(index, rows, 0, "embedding")
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise OutOfRangeError(
                f"embedding at {describe(mark())}: padding_idx {padding_idx} is not one of {rows} rows."
            )
        padding_idx %= rows
    return apply(Embedding, (index, weight), {"padding_idx": padding_idx})


# -- from values to positions and back ----------------------------------------------------------------------------


class OneHot(Op):
    """A 1 at each index, zeros elsewhere."""

    name = "one_hot"
    formula = "y[k, c] = 1 where index[k] = c, else 0"
    gate = "blocks: positions do not vary smoothly"
    differentiable = False

    def forward(index, *, num_classes):
        return (index[..., None] == np.arange(num_classes)).astype(np.int64)


class Argwhere(Op):
    """The positions of what is not zero, one a row."""

    formula = "y = all k with x[k] ≠ 0"
    gate = "blocks: positions do not vary smoothly"
    differentiable = False

    def forward(x):
        return np.argwhere(x)


@operation(OneHot, samples=lambda rng: [Sample(np.array([0, 2, 1])), Sample(np.array([[1, 0]]), 4)])
def one_hot(index: Any, num_classes: int = -1) -> Tensor:
    """int64 zeros with a 1 at each index along a new last dimension (of ``num_classes``, or one more than the largest)."""
    index = integer_index(index, index, "one_hot")
    array = getattr(index, "_data", index)
    if num_classes == -1:
        if not array.size:
            raise OperationError(f"one_hot at {describe(mark())}: give num_classes for an empty index.")
        num_classes = int(array.max()) + 1
    check_range(index, num_classes, array.ndim, "one_hot")
    return apply(OneHot, (index,), {"num_classes": num_classes})


@operation(
    Argwhere, samples=lambda rng: [Sample(np.array([[0.0, 1.5], [2.0, 0.0]])), Sample(np.array(3)), Sample(np.zeros(0))]
)
def argwhere(x: Any) -> Tensor:
    """The positions of all elements that are not zero: shape (how many, number of dimensions), int64."""
    return apply(Argwhere, (operand(x),))


@operation(Argwhere, samples=lambda rng: [Sample(rng.random((3, 4)) < 0.5), Sample(rng.random(4) < 0.5, as_tuple=True)])
def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """As :func:`argwhere`; ``as_tuple`` gives one tensor a dimension, which can be used as an index."""
    x = operand(x)
    found = argwhere(x)
    if not as_tuple:
        return found
    return tuple(found[:, d] for d in range(found.shape[1])) if x.ndim else nonzero(reshape(x, (1,)), as_tuple=True)
