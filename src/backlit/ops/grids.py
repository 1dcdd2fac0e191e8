"""Products and blocks of vectors and matrices as larger ones, windows, and the positions of triangles."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..creation import as_tensor
from .arranging import meshgrid, roll
from .definition import Sample, Tensor, operation
from .elementwise import match, operand
from .joining import cat, stack
from .misuse import misuse
from .padding import pad
from .reduction import one_axis
from .selecting import index_select
from .shape import movedim, reshape


@operation(
    formula="z = x × y",
    gate="swaps: dx = y × dz, dy = dz × x",
    samples=lambda rng: [
        Sample(rng.normal(size=(3,)), rng.normal(size=(3,))),
        Sample(rng.normal(size=(2, 3, 4)), rng.normal(size=(1, 3, 4)), 1),
    ],
)
def cross(x: Any, y: Any, dim: int | None = None) -> Tensor:
    """The cross product of vectors with three components, which lie along ``dim`` (the first of size 3 by default)."""
    x, y = match(operand(x), operand(y))
    if x.ndim != y.ndim:
        raise misuse("cross", f"the shapes {tuple(x.shape)} and {tuple(y.shape)} differ in their dimensions.")
    if dim is None:
        dim = next((i for i, n in enumerate(x.shape) if n == 3), -1)
    axis = one_axis("cross", x, dim)
    if x.ndim == 0 or x.shape[axis] != 3 or y.shape[axis] != 3:
        raise misuse("cross", f"dimension {dim} of {tuple(x.shape)} and {tuple(y.shape)} must have size 3.")
    return roll(x, -1, axis) * roll(y, -2, axis) - roll(x, -2, axis) * roll(y, -1, axis)


@operation(
    formula="Y = diag(X₁, X₂, …)",
    gate="routes: each block receives its part of the upstream gradient",
    samples=lambda rng: [Sample(rng.normal(size=(2, 3)), rng.normal(size=(2,)), rng.normal(size=()))],
)
def block_diag(*tensors: Any) -> Tensor:
    """Matrices (or vectors as rows, or numbers) along the diagonal of a larger matrix that is zero elsewhere."""
    blocks = [operand(x) for x in tensors]
    for x in blocks:
        if x.ndim > 2:
            raise misuse("block_diag", f"a block has shape {tuple(x.shape)}; at most two dimensions are possible.")
    blocks = [reshape(x, (1,) * (2 - x.ndim) + tuple(x.shape)) for x in blocks]
    width, before, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(pad(x, (before, width - before - x.shape[1])))
        before += x.shape[1]
    return cat(rows, 0)


@operation(
    formula="rows = all (x₁[i], x₂[j], …)",
    gate="adds: each element receives the gradients of all rows that it is in",
    samples=lambda rng: [Sample(rng.normal(size=3), rng.normal(size=2)), Sample(rng.normal(size=3))],
)
def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element from each vector, one a row (of one vector: itself)."""
    if len(tensors) == 1:
        return operand(tensors[0])
    return stack([reshape(x, (-1,)) for x in meshgrid(*tensors, indexing="ij")], -1)


@operation(
    formula="rows = all x[i₁, i₂, …] with i₁ < i₂ < …",
    gate="adds: each element receives the gradients of all rows that it is in",
    samples=lambda rng: [Sample(rng.normal(size=4)), Sample(rng.normal(size=3), 2, True)],
)
def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a vector in order of position, one a row."""
    x = operand(x)
    if x.ndim != 1 or r < 0:
        raise misuse("combinations", f"needs a vector and r >= 0; got {tuple(x.shape)}, r={r}.")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = np.array(list(choose(range(x.shape[0]), r)), np.int64).reshape(-1)
    return reshape(index_select(x, 0, chosen), (-1, r) if r else (0,))


@operation(
    formula="y[…, i, …, j] = x[…, i · step + j, …]",
    gate="adds: an element receives the gradients of all windows that it is in",
    samples=lambda rng: [Sample(rng.normal(size=(3, 7)), 1, 3, 2), Sample(rng.normal(size=5), 0, 2, 1)],
)
def unfold(x: Any, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` along a dimension, ``step`` apart, each in a new last dimension (a copy)."""
    x = operand(x)
    axis = one_axis("unfold", x, dimension)
    if x.ndim == 0:
        return reshape(unfold(reshape(x, (1,)), 0, size, step), (size,))
    if size < 0 or step < 1 or size > x.shape[axis]:
        raise misuse("unfold", f"windows of {size} every {step} do not fit dimension {dimension} of {tuple(x.shape)}.")
    starts = np.arange(0, x.shape[axis] - size + 1, step)
    windows = index_select(x, axis, (starts[:, None] + np.arange(size)).reshape(-1))
    return movedim(reshape(windows, (*x.shape[:axis], len(starts), size, *x.shape[axis + 1 :])), axis + 1, -1)


def _at_least(count: int, place: Any) -> Any:
    def function(*tensors: Any) -> Any:
        given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
        grown = tuple(x if x.ndim >= count else reshape(x, place(x.shape)) for x in map(operand, given))
        return grown if len(given) != 1 or given is not tensors else grown[0]

    function.__name__ = function.__qualname__ = f"atleast_{count}d"
    function.__doc__ = (
        f"Tensors with at least {count} dimension{'s' * (count > 1)}; those with fewer get some of size 1."
    )
    return operation(
        formula="y = x",
        gate="passes",
        samples=lambda rng: [Sample(rng.normal(size=())), Sample(rng.normal(size=2), rng.normal(size=(2, 3)))],
    )(function)


atleast_1d = _at_least(1, lambda shape: (1,))
atleast_2d = _at_least(2, lambda shape: (1,) * (2 - len(shape)) + tuple(shape))
atleast_3d = _at_least(3, lambda shape: (1,) * (2 - len(shape)) + tuple(shape) + (1,))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = np.int64, device: Any = "cpu") -> Tensor:
    """The positions of the lower triangle of a matrix: int64, shape (2, how many)."""
    return as_tensor(np.stack(np.tril_indices(row, offset, col)), dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = np.int64, device: Any = "cpu") -> Tensor:
    """The positions of the upper triangle of a matrix: int64, shape (2, how many)."""
    return as_tensor(np.stack(np.triu_indices(row, offset, col)), dtype, device)
