"""Putting tensors together: cat, stack and their relatives."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import operand
from .misuse import misuse
from .shape import reshape, result_dtype, wrap_dim
from .slicing import Slice, along


def _filled(tangents: list[Any], shapes: Any, dtype: Any) -> tuple[Any, ...]:
    """Tangents with zeros where an input has none."""
    return tuple(
        constant(np.zeros(shape, dtype)) if t is None else t for t, shape in zip(tangents, shapes, strict=True)
    )


class Cat(Op):
    """Tensors put one after the other along a dimension."""

    formula = "y = [x₁, x₂, …]"
    gate = "routes: the upstream gradient is cut into the inputs' parts"
    gradients: ClassVar = {"tensors": "part(g); part: the piece that this input was put in"}

    def forward(*tensors, dim):
        return np.concatenate(tensors, axis=dim)

    def vjp(ctx, g):
        dim, start, parts = ctx.params["dim"], 0, []
        for edge, shape in zip(ctx.edges, ctx.shapes, strict=True):
            end = start + shape[dim]
            parts.append(None if edge is None else apply(Slice, (g,), {"key": along(dim, slice(start, end))}))
            start = end
        return parts

    def jvp(ctx, tangents):
        return apply(Cat, _filled(tangents, ctx.shapes, ctx.dtype), ctx.params)


class Stack(Op):
    """Tensors of one shape put side by side along a new dimension."""

    formula = "y[k] = xₖ"
    gate = "routes: input k receives the k-th part of the upstream gradient"
    gradients: ClassVar = {"tensors": "part(g); part: the slice that this input was put in"}

    def forward(*tensors, dim):
        return np.stack(tensors, axis=dim)

    def vjp(ctx, g):
        dim = ctx.params["dim"]
        return [None if e is None else apply(Slice, (g,), {"key": along(dim, k)}) for k, e in enumerate(ctx.edges)]

    def jvp(ctx, tangents):
        return apply(Stack, _filled(tangents, ctx.shapes, ctx.dtype), ctx.params)


def _operands(tensors: Any, name: str) -> list[Any]:
    """The inputs, of one dtype."""
    given = [operand(x) for x in tensors]
    if not given:
        raise misuse(name, "needs at least one tensor.")
    if any(x.dtype != given[0].dtype for x in given[1:]):
        dtype = result_dtype(given)
        given = [x if x.dtype == dtype else x.astype(dtype) for x in given]
    return given


def _lists(rng: np.random.Generator) -> list[Sample]:
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    return [Sample([a, b]), Sample([rng.normal(size=(2,)), rng.normal(size=(2,))]), Sample([a])]


@operation(
    Cat,
    samples=lambda rng: [
        Sample([rng.normal(size=(2, 3)), rng.normal(size=(1, 3)), rng.normal(size=(0, 3))]),
        Sample([rng.normal(size=(2, 3)), rng.normal(size=(2, 1))], -1),
        Sample([rng.normal(size=(2,))]),
    ],
)
def cat(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors one after the other along ``dim``; their other sizes are equal. One-dimensional empty ones are skipped.

    Raises:
        OperationError: the list is empty, a tensor is 0-d, or shapes differ elsewhere than in ``dim``.
    """
    given = _operands(tensors, "cat")
    kept = [x for x in given if x.shape != (0,)] or given[:1]
    dim = wrap_dim(dim, kept[0].ndim, "cat")
    first = kept[0].shape
    for i, x in enumerate(kept):
        if x.ndim != len(first) or not first or x.shape[:dim] != first[:dim] or x.shape[dim + 1 :] != first[dim + 1 :]:
            raise misuse(
                "cat",
                f"tensor {i} has shape {tuple(x.shape)} and tensor 0 {tuple(first)}; "
                f"they must have the same sizes except in dimension {dim}, and at least one. Use stack to add one.",
            )
    return apply(Cat, tuple(kept), {"dim": dim})


@operation(
    Stack, samples=lambda rng: [*_lists(rng), Sample([rng.normal(size=(2, 3)), rng.normal(size=(2, 3))], dim=-1)]
)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension ``dim``."""
    given = _operands(tensors, "stack")
    shape = given[0].shape
    for i, x in enumerate(given):
        if x.shape != shape:
            raise misuse(
                "stack", f"tensor {i} has shape {tuple(x.shape)} and tensor 0 {tuple(shape)}; all must be equal."
            )
    return apply(Stack, tuple(given), {"dim": wrap_dim(dim, len(shape) + 1, "stack")})


def _at_least(x: Any, ndim: int) -> Any:
    """As NumPy's and PyTorch's ``atleast_*d``: a vector becomes a row, a matrix a stack with depth 1."""
    x = operand(x)
    while x.ndim < min(ndim, 2):
        x = reshape(x, (1, *x.shape))
    return reshape(x, (*x.shape, 1)) if ndim == 3 and x.ndim == 2 else x


@operation(formula=Cat.formula, gate=Cat.gate, samples=_lists)
def hstack(tensors: Any) -> Tensor:
    """Vectors one after the other, other tensors along their second dimension."""
    parts = [_at_least(x, 1) for x in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


@operation(formula=Cat.formula, gate=Cat.gate, samples=_lists)
def vstack(tensors: Any) -> Tensor:
    """Tensors along their first dimension, vectors as rows."""
    return cat([_at_least(x, 2) for x in tensors], 0)


@operation(formula=Cat.formula, gate=Cat.gate, samples=_lists)
def dstack(tensors: Any) -> Tensor:
    """Tensors along their third dimension, matrices with depth 1."""
    return cat([_at_least(x, 3) for x in tensors], 2)


@operation(formula=Cat.formula, gate=Cat.gate, samples=_lists)
def column_stack(tensors: Any) -> Tensor:
    """Vectors as the columns of a matrix; matrices side by side."""
    given = [operand(x) for x in tensors]
    return hstack([reshape(x, (-1, 1)) if x.ndim < 2 else x for x in given])


concat = concatenate = cat
