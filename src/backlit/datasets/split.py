"""Choosing which rows are kept back for testing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Rows = NDArray[np.intp]


def split_rows(count: int, test_fraction: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Row numbers for training and for testing, each in random order; round(count · test_fraction) are for testing.

    Raises:
        DataError: `test_fraction` lies outside [0, 1).

    Example:
        >>> train, test = split_rows(10, 0.2, np.random.default_rng(0))
        >>> len(train), len(test), sorted({*train.tolist(), *test.tolist()}) == list(range(10))
        (8, 2, True)
    """
    _check_fraction(test_fraction)
    order = rng.permutation(count)
    held_out = min(round(count * test_fraction), max(count - 1, 0))
    return order[held_out:], order[:held_out]


def split_by_class(labels: NDArray[Any], test_fraction: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """As `split_rows`, with each class in the same proportion in both parts, and never missing from training.

    The test rows are shared out by largest remainder: class k gets ⌊n_k · f⌋, and the classes with the largest
    fractional parts one more, until round(n · f) are given out.

    Raises:
        DataError: `test_fraction` lies outside [0, 1).

    Example:
        >>> train, test = split_by_class(np.array([0] * 10 + [1] * 30), 0.2, np.random.default_rng(0))
        >>> int(sum(test < 10)), int(sum(test >= 10))
        (2, 6)
    """
    _check_fraction(test_fraction)
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    held_out = _shares(counts, test_fraction)
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(codes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    rank_in_class = np.arange(len(labels)) - np.repeat(starts, counts)
    for_test = rank_in_class < np.repeat(held_out, counts)
    return rng.permutation(by_class[~for_test]), rng.permutation(by_class[for_test])


def _shares(counts: NDArray[np.intp], fraction: float) -> NDArray[np.intp]:
    """How many of each class go to the test part."""
    exact = counts * fraction
    shares = np.floor(exact).astype(np.intp)
    wanted = round(counts.sum() * fraction) - shares.sum()
    for code in np.argsort(shares - exact, kind="stable")[: max(wanted, 0)]:
        shares[code] += 1
    in_training: Rows = np.maximum(counts - shares, 1)
    return counts - in_training


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise DataError(f"test_fraction is {fraction}; give the share of rows to keep for testing, 0 <= share < 1.")
