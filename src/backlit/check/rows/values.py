"""The numbers in the rows: whether they are finite, and of a size that networks learn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..faults import finding
from ..finding import Finding, listed
from .table import Table

LARGE, TINY, OFF_CENTRE = 10.0, 1e-2, 10.0
"""Columns count as not standardized when their typical size is beyond ten, when that of all is below a hundredth, or
when they lie ten standard deviations away from 0. Pixels from 0 to 1 and one-hot columns stay inside."""


def not_finite(table: Table) -> Iterator[Finding]:
    """NaN and infinities among inputs and targets."""
    for array, what in ((table.x, "inputs"), (table.y, "targets")):
        if array.dtype.kind != "f":
            continue
        bad = ~np.isfinite(array.reshape(len(array), -1))
        if bad.any():
            rows, columns = np.sort(table.numbers[bad.any(axis=1)]), np.flatnonzero(bad.any(axis=0))
            where = table.column(int(columns[0])) if what == "inputs" else "targets"
            kinds = "NaN" if np.isnan(array).any() else "infinity"
            text = (
                f"{len(rows)} of {len(array)} rows of the {what} hold {kinds}, first rows "
                f"{listed([str(i) for i in rows.tolist()])}."
            )
            yield finding("non_finite_data", text, where, rows=rows.tolist(), columns=columns.tolist())


def input_scale(table: Table) -> Iterator[Finding]:
    """Columns far from mean 0 and deviation 1."""
    if table.x.dtype.kind != "f" and table.x.dtype != np.uint8:
        return
    values = table.x.astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    size = np.sqrt(mean**2 + std**2)
    odd = np.flatnonzero((size > LARGE) | ((abs(mean) > OFF_CENTRE * std) & (abs(mean) > 1) & (std > 0)))
    if len(odd):
        worst = int(odd[size[odd].argmax()])
        text = (
            f"{len(odd)} of {len(size)} columns are far from mean 0 and standard deviation 1; {table.column(worst)} "
            f"has mean {mean[worst]:.4g} and standard deviation {std[worst]:.4g}."
        )
        yield finding("not_standardized", text, table.column(worst), columns=odd.tolist())
    elif 0 < size.max() < TINY:
        text = f"All columns are tiny: none has a typical size above {size.max():.2g}."
        yield finding("not_standardized", text, likelihood=0.85)


def target_scale(table: Table) -> Iterator[Finding]:
    """Targets whose errors would be large from the start."""
    y = table.y.astype(np.float64)
    if table.y.dtype.kind == "f" and np.sqrt(np.mean(y**2)) > LARGE:
        text = f"The targets have mean {y.mean():.4g} and standard deviation {y.std():.4g}."
        yield finding("targets_not_standardized", text)
