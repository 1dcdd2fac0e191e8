"""Adding values into an array at index arrays, duplicates included: the gradient of every kind of look-up.

The indexed dimensions are brought to the front and flattened, and rows are assigned when no position occurs twice, else
added. ``np.add.at`` takes 25 ns an element for rows, and 3 ns for single elements, which rows can be taken for. SciPy's
sparse matrix product takes 0.5 ns, but 50 ms to import; it adds in the same order, so the bits are the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray
_FEW = 256
"""Up to so many elements adding rows is quicker than adding elements."""


class _Sparse:
    """Whether SciPy's sparse matrices are worth importing: once adding without them has taken about as long."""

    WORTH = 1 << 24
    """Elements."""

    def __init__(self) -> None:
        self.added = 0

    def worth(self, count: int) -> bool:
        """Whether to add ``count`` elements, after all those asked about before, by a sparse product."""
        self.added += count
        return self.added > self.WORTH


_sparse = _Sparse()


def index_key(indices: tuple[Array, ...], dims: tuple[int, ...]) -> tuple[Any, ...]:
    """The NumPy key that applies each index array at its dimension; a boolean array spans as many as it has."""
    key: list[Any] = []
    position = 0
    for index, dim in zip(indices, dims, strict=True):
        key += [slice(None)] * (dim - position)
        key.append(index)
        position = dim + (index.ndim if index.dtype.kind == "b" else 1)
    return tuple(key)


def as_integers(indices: tuple[Array, ...], dims: tuple[int, ...]) -> tuple[list[Array], list[int]]:
    """The same look-up without boolean arrays, each index with a dimension of its own."""
    found: list[Array] = []
    places: list[int] = []
    for index, dim in zip(indices, dims, strict=True):
        parts = index.nonzero() if index.dtype.kind == "b" else (index,)
        found += parts
        places += range(dim, dim + len(parts))
    return found, places


def flat_positions(shape: tuple[int, ...], indices: list[Array], dims: list[int]) -> Array:
    """Row-major positions among the indexed dimensions, in the index arrays' broadcast shape; none is negative."""
    if len(indices) == 1:
        index = indices[0]
        return np.where(index < 0, index + shape[dims[0]], index)
    return np.ravel_multi_index(np.broadcast_arrays(*indices), [shape[d] for d in dims], mode="wrap")


def result_place(dims: list[int]) -> int:
    """Where the index arrays' dimensions are in the result: in place if the indexed ones are neighbours, else first."""
    return dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0


def scatter_sum(values: Array, indices: tuple[Array, ...], shape: tuple[int, ...], dims: tuple[int, ...]) -> Array:
    """An array of zeros with ``values`` added at the look-up: ``out[key] += values``, where duplicates add up."""
    if len(indices) == 1 and indices[0].dtype.kind == "b":
        out = np.zeros(shape, values.dtype)
        out[index_key(indices, dims)] = values
        return out
    integers, places = as_integers(indices, dims)
    flat = flat_positions(shape, integers, places)
    start = result_place(places)
    rows = np.moveaxis(values, range(start, start + flat.ndim), range(flat.ndim)) if start else values
    indexed = [shape[d] for d in places]
    others = [n for d, n in enumerate(shape) if d not in places]
    out = _rows_sum(flat.reshape(-1), rows.reshape(flat.size, math.prod(others)), math.prod(indexed))
    return np.moveaxis(out.reshape(*indexed, *others), range(len(places)), places)


def _rows_sum(index: Array, rows: Array, size: int) -> Array:
    """``out[index[n]] += rows[n]`` for zeros ``out`` with ``size`` rows."""
    width = rows.shape[1]
    out = np.zeros((size, width), rows.dtype)
    if width == 1:
        np.add.at(out[:, 0], index, rows[:, 0])
    elif distinct(index, size):
        out[index] = rows
    elif rows.size <= _FEW:
        np.add.at(out, index, rows)
    elif rows.dtype.itemsize >= 4 and _sparse.worth(rows.size):
        out = _by_product(index, rows, size)
    else:
        places = (index * width)[:, None] + np.arange(width)
        np.add.at(out.reshape(-1), places.reshape(-1), rows.reshape(-1))
    return out


def _by_product(index: Array, rows: Array, size: int) -> Array:
    """The same as a product with a sparse matrix of ones."""
    from scipy.sparse import csc_array

    count = len(index)
    ones = np.ones(count, rows.dtype)
    product: Array = csc_array((ones, index, np.arange(count + 1)), shape=(size, count)) @ rows
    return product


def distinct(index: Array, size: int) -> bool:
    """Whether no position (0 to size − 1) occurs twice in a flat index."""
    if index.size > size:
        return False
    seen = np.zeros(size, np.bool_)
    seen[index] = True
    return int(np.count_nonzero(seen)) == index.size


def last_writers(positions: Array, size: int) -> Array | None:
    """Which of several values assigned to one position stays: True for the last. None when no position occurs twice."""
    flat = positions.reshape(-1)
    if distinct(flat, size):
        return None
    order = np.arange(flat.size)
    slot = np.empty(size, np.intp)
    slot[flat] = order
    return (slot[flat] == order).reshape(positions.shape)
