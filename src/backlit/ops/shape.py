"""Changing shape without changing values: reshape, transpose, expand and their relatives. Most results are views."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand, unbroadcast


def sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """``(2, 3)`` from ``f(2, 3)`` and from ``f((2, 3))``."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return tuple(int(n) for n in given)


class Reshape(Op):
    """The same elements in another shape."""

    formula = "y = x, read in another shape"
    gate = "passes, reshaped back"
    is_view = True

    def forward(x, *, shape):
        return x.reshape(shape)

    def vjp_x(ctx, g):
        return g.reshape(ctx.shapes[0])


class Permute(Op):
    """Dimensions in another order."""

    formula = "y = x with its dimensions reordered"
    gate = "passes, with the order undone"
    is_view = True

    def forward(x, *, dims):
        return x.transpose(dims)

    def vjp_x(ctx, g):
        return permute(g, tuple(int(i) for i in np.argsort([d % max(1, len(ctx.shape)) for d in ctx.params["dims"]])))


class Expand(Op):
    """Dimensions of size 1 stretched, without copying."""

    formula = "y = x, repeated along stretched dimensions"
    gate = "copies forward, so gradients add up over the copies"
    is_view = True

    def forward(x, *, shape):
        return np.broadcast_to(x, shape)

    def vjp_x(ctx, g):
        return unbroadcast(g, ctx.shapes[0])


@operation(
    Reshape,
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), (2, 6)),
        Sample(rng.normal(size=(3, 4)), (-1,)),
        Sample(rng.normal(size=(1,)), ()),
    ],
)
def reshape(x: Any, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where the memory layout allows it."""
    return apply(Reshape, (operand(x),), {"shape": sizes(shape)})


@operation(
    Permute,
    samples=lambda rng: [Sample(rng.normal(size=(2, 3, 4)), (2, 0, 1)), Sample(rng.normal(size=(2, 3)), (-1, 0))],
)
def permute(x: Any, *dims: Any) -> Tensor:
    """Dimensions in the given order; a view."""
    return apply(Permute, (operand(x),), {"dims": sizes(dims)})


@operation(Permute, samples=lambda rng: [Sample(rng.normal(size=(2, 3, 4)), 0, -1)])
def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged; a view."""
    x = operand(x)
    order = list(range(x.ndim))
    try:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    except IndexError:
        raise OperationError(
            f"transpose at {describe(mark())}: dimensions {dim0} and {dim1} of a tensor with shape {tuple(x.shape)} do not exist."
        ) from None
    return apply(Permute, (x,), {"dims": tuple(order)})


@operation(
    Expand, samples=lambda rng: [Sample(rng.normal(size=(3, 1)), (2, 3, 4)), Sample(rng.normal(size=(1,)), (3,))]
)
def expand(x: Any, *shape: Any) -> Tensor:
    """Dimensions of size 1 stretched to ``shape`` without copying; -1 keeps a size. Read-only memory: writes raise."""
    x = operand(x)
    target = sizes(shape)
    lead = len(target) - x.ndim
    target = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(target))
    return apply(Expand, (x,), {"shape": target})


def mT(x: Any) -> Tensor:
    """The last two dimensions exchanged."""
    return transpose(x, -2, -1)


def T(x: Any) -> Tensor:
    """All dimensions reversed."""
    return permute(x, tuple(range(operand(x).ndim))[::-1])
