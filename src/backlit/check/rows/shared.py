"""Rows that two sets of data share: equal ones by their bytes, nearly equal ones by hashed random projections."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pairs = NDArray[np.int64]

PROJECTIONS, GRIDS = 6, 4
FAINT = 0.05
CLOSE = 1e-3
"""Nearly equal rows differ by less than this, per column, in standard deviations."""


def equal_rows(first: Array, second: Array) -> Pairs:
    """Pairs (i, j): row j of ``second`` equals row i of ``first``; one pair for each such j."""
    return _matches(_keys(first), _keys(second))


def near_rows(first: Array, second: Array) -> Pairs:
    """Pairs (i, j) of rows that differ by rounding or by a little noise; one pair for each such j.

    Rows are projected on a few random directions and the projections rounded to a grid that is coarse against the
    distance looked for, so that near rows nearly always share a cell; several shifted grids catch those on an edge.
    Candidates are then compared for themselves.
    """
    both = np.concatenate([first, second]).astype(np.float64)
    spread = first.astype(np.float64).std(axis=0)
    if not (spread > 0).any():
        return np.zeros((0, 2), np.int64)
    # A column that hardly varies would blow up the very noise that is to be overlooked.
    spread = np.maximum(spread, FAINT * np.median(spread[spread > 0]))
    scaled = (both - both.mean(axis=0)) / spread
    width = scaled.shape[1]
    rng = np.random.default_rng(0)
    # Unit directions: a distance d shrinks to about d / sqrt(width) in each projection.
    projected = scaled @ (rng.standard_normal((width, PROJECTIONS)) / np.sqrt(width))
    cell = 40 * CLOSE
    a, b = scaled[: len(first)], scaled[len(first) :]
    found: dict[int, int] = {}
    for grid in range(GRIDS):
        cells = np.floor(projected / cell + grid / GRIDS + rng.random(PROJECTIONS)).astype(np.int64)
        pairs = _matches(_keys(cells[: len(first)]), _keys(cells[len(first) :]))
        gap = np.sqrt(((a[pairs[:, 0]] - b[pairs[:, 1]]) ** 2).mean(axis=1))
        found.update((int(j), int(i)) for i, j in pairs[gap < CLOSE])
    return np.array([(i, j) for j, i in sorted(found.items())], np.int64).reshape(-1, 2)


def expected_share(first: Array, second: Array) -> float:
    """The share of rows in ``second`` that equal one of ``first`` by chance, were their columns independent.

    Few columns of few values (a table of yes and no) repeat by themselves, and prove nothing.
    """
    log_chance = 0.0
    for column in np.concatenate([first, second]).T:
        _, counts = np.unique(column, return_counts=True)
        log_chance += float(np.log(np.sum((counts / counts.sum()) ** 2)))
    return float(-np.expm1(-len(first) * np.exp(log_chance)))


def _keys(rows: Array) -> Array:
    """Each row as one item of raw bytes; -0.0 is 0.0."""
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1) + 0)
    return flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).reshape(-1)


def _matches(first: Array, second: Array) -> Pairs:
    known: dict[bytes, int] = {}
    for i, key in enumerate(first.tolist()):
        known.setdefault(key, i)
    pairs = [(known[key], j) for j, key in enumerate(second.tolist()) if key in known]
    return np.array(pairs, np.int64).reshape(-1, 2)
