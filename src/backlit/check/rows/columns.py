"""Columns that say nothing, or the same as another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..faults import finding
from ..finding import Finding, listed
from .table import Table

MANY_COLUMNS = 32
"""From here on constant and equal columns are usual (borders of flattened images) and harmless while they are few."""


def idle_columns(table: Table) -> Iterator[Finding]:
    """Constant columns, and copies of others."""
    if table.pictures or len(table.x) < 10:
        return
    constant = np.flatnonzero((table.x == table.x[:1]).all(axis=0)).tolist()
    yield from _constant(table, constant)
    yield from _copies(table, set(constant))


def _constant(table: Table, constant: list[int]) -> Iterator[Finding]:
    rows, width = table.x.shape
    if len(constant) > (width / 2 if width >= MANY_COLUMNS else 0):
        text = (
            f"{len(constant)} of {width} columns have one value in all {rows} rows: "
            f"{listed([table.column(j) for j in constant])}."
        )
        yield finding("constant_feature", text, table.column(constant[0]), columns=constant)


def _copies(table: Table, constant: set[int]) -> Iterator[Finding]:
    width = table.x.shape[1]
    first: dict[bytes, int] = {}
    equal = []
    for j in range(width):
        if j not in constant:
            earlier = first.setdefault(np.ascontiguousarray(table.x[:, j]).tobytes(), j)
            if earlier != j:
                equal.append((earlier, j))
    if len(equal) > (width / 4 if width >= MANY_COLUMNS else 0):
        names = listed([f"{table.column(j)} of {table.column(i)}" for i, j in equal])
        text = f"{len(equal)} of {width} columns are copies of others: {names}."
        yield finding("duplicate_feature", text, table.column(equal[0][1]), pairs=equal)
