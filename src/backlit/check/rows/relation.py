"""Whether the inputs say anything about the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..faults import finding
from ..finding import Finding
from .labels import are_classes
from .table import Array, Table

NEIGHBOUR_ROWS = 1500
"""Distances between so many rows at most: each has to meet each."""

ENOUGH_ROWS, FEWEST_ROWS = 200, 40
"""From how many rows on the rows alone, and the rows together with a model's failure, allow a verdict."""


class Agreement(NamedTuple):
    """How often (or how closely) a row's nearest neighbour agrees with it, and how many standard errors off chance."""

    share: float
    score: float


def unrelated(table: Table) -> Iterator[Finding]:
    """Targets that neither the nearest neighbour nor any single column says anything about."""
    if table.x.dtype.kind != "f" or len(table.y) < ENOUGH_ROWS:
        return
    classes = are_classes(table.y)
    rows, targets = _standardized_sample(table.x, table.y)
    if not rows.shape[1] or len(np.unique(targets)) < 2 or _column_tells(rows, targets, classes):
        return
    score = _nearest_agree(rows, targets, classes).score
    if abs(score) < 2.5:
        what = "labels" if classes else "targets"
        text = (
            f"The {what} of nearest neighbours agree no more than chance gives ({score:.1f} standard errors), and no "
            f"column is related to the {what}."
        )
        yield finding("labels_unrelated", text, likelihood=0.55, score=score)


def neighbours_agree(x: Array, y: Array) -> Agreement | None:
    """The same for class labels of a training's rows; None where there are too few of them."""
    if len(x) < FEWEST_ROWS or y.size != len(x):
        return None
    rows, targets = _standardized_sample(x, y.reshape(-1))
    return _nearest_agree(rows, targets, True)


def _standardized_sample(x: Array, y: Array) -> tuple[Array, Array]:
    """Rows spread evenly over all, in columns of mean 0 and deviation 1; constant columns are left out."""
    chosen = np.linspace(0, len(y) - 1, min(len(y), NEIGHBOUR_ROWS)).astype(int)
    rows = x[chosen].astype(np.float64)
    spread = rows.std(axis=0)
    rows = rows[:, spread > 0]
    return (rows - rows.mean(axis=0)) / spread[spread > 0], y[chosen]


def _column_tells(rows: Array, targets: Array, classes: bool) -> bool:
    """Whether any column's mean differs between classes, or it correlates with a number, beyond chance."""
    count, width = rows.shape
    indicators = [targets == c for c in np.unique(targets)] if classes else [targets]
    # One false alarm in a hundred over all columns and classes.
    limit = np.sqrt(2 * np.log(2 * width * len(indicators) * 100)) / np.sqrt(count)
    for indicator in indicators:
        centred = indicator.astype(np.float64)
        centred -= centred.mean()
        size = np.sqrt(np.mean(centred**2))
        if size > 0 and np.abs(rows.T @ centred / (count * size)).max() > limit:
            return True
    return False


def _nearest_agree(rows: Array, targets: Array, classes: bool) -> Agreement:
    """Compare each row's target with that of the nearest other row: equality of classes, correlation of numbers."""
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    other = targets[distances.argmin(axis=1)]
    count = len(targets)
    if classes:
        chance = float(np.sum((np.unique(targets, return_counts=True)[1] / count) ** 2))
        share = float(np.mean(other == targets))
        return Agreement(share, (share - chance) / math.sqrt(max(chance * (1 - chance), 1e-12) / count))
    a, b = targets.astype(np.float64), other.astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return Agreement(math.nan, math.inf)
    correlation = float(np.corrcoef(a, b)[0, 1])
    return Agreement(correlation, correlation * math.sqrt(count))
