"""Data in any form, read as a table: a line a row, a column a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets import Data
from ...errors import OperationError
from ...utils.data import DataLoader
from ...utils.data.dataset import fetch_batch

Array = NDArray[Any]

MAX_ROWS = 20_000
"""Rows looked at; more are sampled."""


@dataclass(frozen=True)
class Table:
    """Rows as columns of numbers.

    ``numbers`` says which rows these are of those that were given, for messages; ``pictures``, that columns are pixels
    or words and mean nothing one by one.
    """

    x: Array
    y: Array
    numbers: NDArray[np.intp]
    names: tuple[str, ...] = ()
    pictures: bool = False

    def column(self, j: int) -> str:
        """What to call a column."""
        return self.names[j] if self.names else f"column {j}"


def table_from(given: Any) -> Table:
    """Inputs and targets of ``(x, y)``, a Dataset, a DataLoader or a Data, at most :data:`MAX_ROWS` rows of them.

    Raises:
        OperationError: there are no inputs and targets with a line a row in it.
    """
    names: tuple[str, ...] = ()
    pictures = False
    if isinstance(given, Data):
        names, pictures = given.feature_names or (), given.image_shape is not None
        given = (given.x_train, given.y_train)
    parts, numbers = _arrays(given)
    if len(parts) < 2 or not len(parts[0]):
        raise OperationError(
            "check.data: give inputs and targets with at least one row: (x, y), a Dataset, a DataLoader."
        )
    x, y = parts[0], parts[-1]
    if x.dtype.kind not in "fiub":
        raise OperationError(f"check.data: the inputs are of dtype {x.dtype}; turn them into numbers first.")
    if y.dtype.kind in "OUS":  # names of classes
        y = np.unique(y, return_inverse=True)[1].reshape(y.shape)
    tokens = x.dtype.kind in "iu" and x.dtype.itemsize > 1
    return Table(x.reshape(len(x), -1), y, numbers, names, pictures or x.ndim > 2 or tokens)


def _arrays(given: Any) -> tuple[list[Array], NDArray[np.intp]]:
    """Inputs and targets as arrays, in the order in which they come, and the numbers of these rows."""
    if isinstance(given, tuple | list):
        whole = [np.asarray(getattr(part, "_data", part)) for part in given]
        if len({len(part) for part in whole}) > 1:
            sizes = " and ".join(str(len(part)) for part in whole)
            raise OperationError(f"check.data: inputs and targets have {sizes} rows; there must be as many of each.")
        chosen = _spread(len(whole[0]))
        return [part[chosen] for part in whole], chosen
    if isinstance(given, DataLoader):
        parts = _delivered(given)
        return parts, np.arange(len(parts[0]) if parts else 0)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        chosen = _spread(len(given))
        batch = fetch_batch(given, chosen.tolist(), np.random.default_rng(0))
        return [np.asarray(getattr(part, "_data", part)) for part in batch], chosen
    raise OperationError(f"check.data: cannot read {type(given).__name__}; give (x, y), a Dataset or a DataLoader.")


def _delivered(loader: DataLoader) -> list[Array]:
    """The first rows that a loader gives."""
    batches: list[list[Array]] = []
    count = 0
    for batch in loader:
        batches.append([np.asarray(getattr(part, "_data", part)) for part in batch])
        count += len(batches[-1][0])
        if count >= MAX_ROWS:
            break
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _spread(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_ROWS)).astype(np.intp)) if count else np.zeros(0, np.intp)
