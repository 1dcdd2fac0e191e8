"""Training rows against rows held back: whether one set knows of the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..faults import finding
from ..finding import Finding
from .shared import equal_rows, expected_share, near_rows
from .table import Array, Table

FEWEST_ROWS = 8
"""Fewer rows may have any mean and deviation."""


def leaks(train: Table, held_out: Table) -> Iterator[Finding]:
    """Rows in both sets, other columns, and a scaling that was fitted on both."""
    if train.x.shape[1] != held_out.x.shape[1]:
        text = f"Training rows have {train.x.shape[1]} columns, validation rows {held_out.x.shape[1]}."
        yield finding("different_columns", text)
        return
    yield from _shared_rows(train, held_out)
    yield from _shared_scaling(train, held_out)


def _shared_rows(train: Table, held_out: Table) -> Iterator[Finding]:
    second = held_out.x.astype(train.x.dtype, copy=False)
    pairs, exact = equal_rows(train.x, second), True
    near = near_rows(train.x, second) if train.x.dtype.kind == "f" else pairs
    if len(near) > 2 * len(pairs):
        pairs, exact = near, False
    share = len(pairs) / len(second)
    if len(pairs) < 2 or share <= 0.01 + 10 * expected_share(train.x, second):
        return
    pairs = np.stack([train.numbers[pairs[:, 0]], held_out.numbers[pairs[:, 1]]], axis=1)
    pairs = pairs[np.argsort(pairs[:, 1])]
    i, j = pairs[0]
    text = (
        f"{len(pairs)} of {len(second)} validation rows ({share:.0%}) are {'' if exact else 'nearly '}equal to "
        f"training rows (validation row {j} is training row {i})."
    )
    yield finding("leakage", text, pairs=pairs[:1000].tolist(), exact=exact)


def _shared_scaling(train: Table, held_out: Table) -> Iterator[Finding]:
    """Together the rows have mean 0 and deviation 1 to rounding, while the training rows alone do not."""
    if train.x.dtype.kind != "f" or len(train.x) < FEWEST_ROWS:
        return
    x = train.x.astype(np.float64)
    together = np.concatenate([x, held_out.x.astype(np.float64)])
    varying = together.std(axis=0) > 1e-12
    if not varying.any():
        return
    alone, both = _off_standard(x[:, varying]), _off_standard(together[:, varying])
    if both < 1e-5 and alone > 100 * max(both, 1e-7):
        text = (
            f"Training and validation rows together have mean 0 and deviation 1 to {both:.0e}; the training rows alone "
            f"are {alone:.2g} off."
        )
        yield finding("leaking_normalization", text, "validation")


def _off_standard(x: Array) -> float:
    """How far the middle column is from mean 0 and deviation 1."""
    return float(np.median(np.maximum(np.abs(x.mean(axis=0)), np.abs(x.std(axis=0) - 1))))
