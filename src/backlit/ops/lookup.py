"""Between positions and values: embedding, one_hot, argwhere, nonzero."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import mode
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .indexing import IndexSum, check_range, index_put, integer_index
from .misuse import misuse, out_of_range
from .shape import reshape


class Embedding(Op):
    """Rows of a table."""

    formula = "y[k] = W[index[k]]"
    gate = "routes: each row receives the sum of the gradients of its copies; the padding row receives 0"

    @classmethod
    def gradient_form(cls, name, ctx):
        without = "" if ctx.params["padding_idx"] is None else ", of zeros where the padding row is meant"
        return f"onehot(index)ᵀ g; onehot: one row for each position{without}"

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
        raise misuse("embedding", f"the table must be a matrix, its shape is {tuple(weight.shape)}.")
    index = integer_index(input, weight, "embedding")
    rows = weight.shape[0]
    check_range(index, rows, 0, "embedding")
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise out_of_range("embedding", f"padding_idx {padding_idx} is not one of {rows} rows.")
        padding_idx %= rows
    return apply(Embedding, (index, weight), {"padding_idx": padding_idx})


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
    """int64 zeros with a 1 at each index along a new last dimension.

    Its size is ``num_classes``, or one more than the largest index.
    """
    index = integer_index(index, index, "one_hot")
    array = getattr(index, "_data", index)
    if num_classes == -1:
        if mode.tracer is not None:
            mode.tracer.refuse("one_hot without num_classes")
        if not array.size:
            raise misuse("one_hot", "give num_classes for an empty index.")
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
