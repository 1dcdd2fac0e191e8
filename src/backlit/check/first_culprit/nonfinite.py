"""Entries of an array that are NaN or infinite, or that made others so: where they are and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...numerics import surely_finite

Index = tuple[int, ...]
FEW = 4
"""How many entries a report shows."""
ROWS = 8
"""How many rows of a batch a report names."""


@dataclass(frozen=True)
class Entries:
    """A few entries of one array.

    Attributes:
        name: what the array is to the operation: ``x``, ``upstream``, ``result`` …
        shape, dtype: of the whole array.
        indices, values: the first few of the entries in question.
        count: how many there are altogether.
        rows: their first indices, the first few of them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    indices: tuple[Index, ...]
    values: tuple[float, ...]
    count: int
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        size = "×".join(map(str, self.shape)) or "scalar"
        if not self.indices:
            return f"{self.name} ({size} {self.dtype})"
        shown = ", ".join(
            f"{self.name}{list(index) if index else ''} = {value:.6g}"
            for index, value in zip(self.indices, self.values, strict=True)
        )
        more = f" … {self.count} in all" if self.count > len(self.indices) else ""
        return f"{shown}{more} ({size} {self.dtype})"


def values_of(value: Any) -> np.ndarray:
    """The array behind a tensor, an array or a number."""
    return np.asarray(getattr(value, "_data", value))


def is_finite(array: Any) -> bool:
    """Whether a floating array holds neither NaN nor infinity; other dtypes never do."""
    return array.dtype.kind != "f" or surely_finite(array) or bool(np.isfinite(array).all())


def bad_entries(name: str, array: np.ndarray) -> Entries:
    """The entries that are NaN or infinite."""
    return entries_where(name, array, ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool))


def entries_where(name: str, array: np.ndarray, chosen: np.ndarray) -> Entries:
    """The entries where ``chosen``, of the same shape, is True."""
    found = np.argwhere(chosen)
    few = [tuple(int(i) for i in index) for index in found[:FEW]]
    rows = tuple(int(i) for i in np.unique(found[:, 0])[:ROWS]) if array.ndim else ()
    return Entries(
        name,
        array.shape,
        array.dtype.name,
        tuple(few),
        tuple(float(array[index]) for index in few),
        len(found),
        rows,
    )


def entries_at(name: str, array: np.ndarray, of: Entries) -> Entries:
    """The entries that stand, after broadcasting, at the indices of another array's entries."""
    lead = len(of.shape) - array.ndim
    few: dict[Index, float] = {}
    for index in of.indices:
        own = tuple(0 if n == 1 else i for i, n in zip(index[lead:], array.shape, strict=True))
        few[own] = float(array[own])
    return Entries(name, array.shape, array.dtype.name, tuple(few), tuple(few.values()), len(few))


def largest_entry(name: str, array: np.ndarray) -> Entries:
    """The entry of the largest absolute value, or a bad one where there is any."""
    if not array.size or array.dtype.kind not in "fiu":
        return Entries(name, array.shape, array.dtype.name, (), (), 0)
    if not is_finite(array):
        return bad_entries(name, array)
    index = tuple(int(i) for i in np.unravel_index(int(np.abs(array).argmax()), array.shape))
    return Entries(name, array.shape, array.dtype.name, (index,), (float(array[index]),), 1)


def broadcasts_to(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the array's entries stand for entries of ``shape`` one by one."""
    lead = len(shape) - array.ndim
    return lead >= 0 and all(n in (1, m) for n, m in zip(array.shape, shape[lead:], strict=True))
