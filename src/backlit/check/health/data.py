"""What is wrong with data before any training: values, columns, labels, order, and leaks into validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets import Data
from ...errors import OperationError
from ...utils.data import DataLoader
from ...utils.data.dataset import fetch_batch
from ..finding import Finding, Findings
from .flow_verdicts import listed
from .label_checks import label_findings
from .leakage import equal_rows, expected_share, near_rows

Array = NDArray[Any]

MAX_ROWS = 20_000
"""Rows looked at; more are sampled."""

LARGE, TINY, OFF_CENTRE = 10.0, 1e-2, 10.0
"""Columns count as not standardized when their typical size is beyond ten, when that of all is below a hundredth, or
when they lie ten standard deviations away from 0. Pixels from 0 to 1 and one-hot columns stay inside."""

MANY_COLUMNS = 32
"""From here on constant and equal columns are usual (borders of flattened images) and harmless while they are few."""


@dataclass(frozen=True)
class _Table:
    """Rows as columns of numbers; ``pictures`` tells that columns are pixels or words and mean nothing one by one."""

    x: Array
    y: Array
    names: tuple[str, ...]
    pictures: bool

    def column(self, j: int) -> str:
        return self.names[j] if self.names else f"column {j}"


def data(dataset: Any, *, validation: Any = None) -> Findings:
    """Look for what spoils training and sits in the data.

    Non-finite values, columns that are not standardized, constant or equal columns, targets on a strange scale, classes
    out of balance, rows in the order of their labels, equal rows with different targets, labels that have nothing to do
    with the inputs, and rows that training and validation share (also nearly, or with other rounding).

    Args:
        dataset: ``(x, y)`` arrays or tensors, a Dataset, a DataLoader (its order counts as it delivers it), or a
            :class:`~backlit.datasets.Data` (its test rows are the validation unless others are given).
        validation: rows held back, in any of these forms.

    Returns:
        :class:`Findings`, empty when all is well. At most 20,000 rows are looked at, spread evenly.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3)).astype(np.float32)
    >>> data((x, (x[:, 0] > 0).astype(np.int64)))
    <0 findings: none>
    >>> data((x * [1, 1, 500], (x[:, 0] > 0).astype(np.int64))).kinds
    ['not_standardized']
    """
    table = _table(dataset)
    if validation is None and isinstance(dataset, Data) and len(dataset.x_test):
        validation = (dataset.x_test, dataset.y_test)
    broken = list(_not_finite(table))
    if broken:
        return Findings(broken)
    found = [*_scales(table), *_columns(table), *label_findings(table.x, table.y)]
    if validation is not None:
        found += _leaks(table, _table(validation))
    return Findings(found)


def _table(given: Any) -> _Table:
    names: tuple[str, ...] = ()
    pictures = False
    if isinstance(given, Data):
        names, pictures = given.feature_names or (), given.image_shape is not None
        given = (given.x_train, given.y_train)
    parts = _arrays(given)
    if len(parts) < 2 or not len(parts[0]):
        raise OperationError(
            "check.data: give inputs and targets with at least one row: (x, y), a Dataset, a DataLoader."
        )
    x, y = parts[0], parts[-1]
    tokens = x.dtype.kind in "iu" and x.dtype.itemsize > 1
    return _Table(x.reshape(len(x), -1), y, names, pictures or x.ndim > 2 or tokens)


def _arrays(given: Any) -> list[Array]:
    """Inputs and targets as arrays, in the order in which they come."""
    if isinstance(given, tuple | list):
        whole = [np.asarray(getattr(part, "_data", part)) for part in given]
        if len({len(part) for part in whole}) > 1:
            sizes = " and ".join(str(len(part)) for part in whole)
            raise OperationError(f"check.data: inputs and targets have {sizes} rows; there must be as many of each.")
        chosen = _spread(len(whole[0]))
        return [part[chosen] for part in whole]
    if isinstance(given, DataLoader):
        batches, count = [], 0
        for batch in given:
            batches.append([np.asarray(getattr(part, "_data", part)) for part in batch])
            count += len(batches[-1][0])
            if count >= MAX_ROWS:
                break
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        batch = fetch_batch(given, _spread(len(given)).tolist(), np.random.default_rng(0))
        return [np.asarray(getattr(part, "_data", part)) for part in batch]
    raise OperationError(f"check.data: cannot read {type(given).__name__}; give (x, y), a Dataset or a DataLoader.")


def _spread(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_ROWS)).astype(np.intp)) if count else np.zeros(0, np.intp)


# -- values ---------------------------------------------------------------------------------------------------------


def _not_finite(table: _Table) -> Iterator[Finding]:
    for array, what in ((table.x, "inputs"), (table.y, "targets")):
        if array.dtype.kind != "f":
            continue
        bad = ~np.isfinite(array.reshape(len(array), -1))
        if bad.any():
            rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
            where = table.column(int(columns[0])) if what == "inputs" else "targets"
            kinds = "NaN" if np.isnan(array).any() else "infinity"
            yield Finding(
                "non_finite_data",
                f"{len(rows)} of {len(array)} rows of the {what} hold {kinds}, first rows "
                f"{listed([str(i) for i in rows.tolist()])}.",
                "missing values, or a division by 0 or a logarithm while the data were prepared.",
                "fill these values in (with the column's mean, and a column that marks them) or drop the rows.",
                where=where,
                likelihood=0.99,
                data={"rows": rows.tolist(), "columns": columns.tolist()},
            )


def _scales(table: _Table) -> Iterator[Finding]:
    x = table.x
    if x.dtype.kind == "f" or x.dtype == np.uint8:
        values = x.astype(np.float64)
        mean, std = values.mean(axis=0), values.std(axis=0)
        size = np.sqrt(mean**2 + std**2)
        odd = np.flatnonzero((size > LARGE) | ((abs(mean) > OFF_CENTRE * std) & (abs(mean) > 1) & (std > 0)))
        if len(odd):
            worst = int(odd[size[odd].argmax()])
            yield Finding(
                "not_standardized",
                f"{len(odd)} of {len(size)} columns are far from mean 0 and standard deviation 1; "
                f"{table.column(worst)} has mean {mean[worst]:.4g} and standard deviation {std[worst]:.4g}.",
                "the values are in the units of their source.",
                "standardize them with datasets.Standardizer, fitted on the training rows"
                + (" (for pixels: divide by 255)." if values.max() == 255 else "."),
                where=table.column(worst),
                likelihood=0.9,
                data={"columns": odd.tolist()},
            )
        elif 0 < size.max() < TINY:
            yield Finding(
                "not_standardized",
                f"All columns are tiny: none has a typical size above {size.max():.2g}.",
                "the values were divided once too often, or are in a large unit.",
                "standardize them with datasets.Standardizer, fitted on the training rows.",
                likelihood=0.85,
            )
    if table.y.dtype.kind == "f" and np.sqrt(np.mean(table.y.astype(np.float64) ** 2)) > LARGE:
        y = table.y.astype(np.float64)
        yield Finding(
            "targets_not_standardized",
            f"The targets have mean {y.mean():.4g} and standard deviation {y.std():.4g}.",
            "they are in the units of their source, so that errors and gradients are large at the start.",
            "standardize them for training, and turn predictions back (datasets.Standardizer.inverse).",
            likelihood=0.6,
        )


def _columns(table: _Table) -> Iterator[Finding]:
    """Columns that say nothing, or the same as another."""
    x, width = table.x, table.x.shape[1]
    if table.pictures or len(x) < 10:
        return
    constant = np.flatnonzero((x == x[:1]).all(axis=0))
    few = width >= MANY_COLUMNS
    if len(constant) > (width / 2 if few else 0):
        yield Finding(
            "constant_feature",
            f"{len(constant)} of {width} columns have one value in all {len(x)} rows: "
            f"{listed([table.column(int(j)) for j in constant])}.",
            "they were filled with a default, or hold what these rows have in common.",
            "leave them out.",
            where=table.column(int(constant[0])),
            likelihood=0.6,
            data={"columns": constant.tolist()},
        )
    first: dict[bytes, int] = {}
    fixed = set(constant.tolist())
    equal = []
    for j in range(width):
        if j not in fixed:
            earlier = first.setdefault(np.ascontiguousarray(x[:, j]).tobytes(), j)
            if earlier != j:
                equal.append((earlier, j))
    if len(equal) > (width / 4 if few else 0):
        yield Finding(
            "duplicate_feature",
            f"{len(equal)} columns are copies of others: "
            + listed([f"{table.column(j)} of {table.column(i)}" for i, j in equal])
            + ".",
            "a column was joined or encoded twice.",
            "keep one of each; copies count double under weight decay.",
            where=table.column(equal[0][1]),
            likelihood=0.6,
            data={"pairs": equal},
        )


# -- training against validation ------------------------------------------------------------------------------------


def _leaks(train: _Table, held_out: _Table) -> Iterator[Finding]:
    if train.x.shape[1] != held_out.x.shape[1]:
        yield Finding(
            "different_columns",
            f"Training rows have {train.x.shape[1]} columns, validation rows {held_out.x.shape[1]}.",
            "the two were prepared in different ways.",
            "prepare both with the same code, fitted on the training rows.",
            likelihood=0.97,
        )
        return
    second = held_out.x.astype(train.x.dtype, copy=False)
    pairs, exact = equal_rows(train.x, second), True
    near = near_rows(train.x, second) if train.x.dtype.kind == "f" else pairs
    if len(near) > 2 * len(pairs):
        pairs, exact = near, False
    share = len(pairs) / len(second)
    if len(pairs) < 2 or share <= 0.01 + 10 * expected_share(train.x, second):
        return
    i, j = pairs[0]
    yield Finding(
        "leakage",
        f"{len(pairs)} of {len(second)} validation rows ({share:.0%}) are {'' if exact else 'nearly '}equal to "
        f"training rows (validation row {j} is training row {i}).",
        "rows were repeated or augmented before the split, or the two sets overlap.",
        "split first, and by what belongs together; then the validation results mean something.",
        likelihood=0.93,
        data={"pairs": pairs[:1000].tolist(), "exact": exact},
    )
