"""Rows in the order of their targets, seen from row to row or from batch to batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..faults import finding
from ..finding import Finding
from .table import Array


def runs(y: Array) -> Iterator[Finding]:
    """Neighbours with the same label far more often than chance gives."""
    _, counts = np.unique(y, return_counts=True)
    expected = float(np.sum((counts / len(y)) ** 2))
    if len(y) < 50 or len(counts) < 2 or expected > 0.9:
        return
    same = float(np.mean(y[1:] == y[:-1]))
    error = np.sqrt(expected * (1 - expected) / (len(y) - 1))
    if same - expected > max(0.5 * (1 - expected), 6 * error):
        text = f"{same:.0%} of neighbouring rows have the same label, where a random order gives {expected:.0%}."
        yield finding("unshuffled", text, likelihood=0.75, same=same, expected=expected)


def drift(y: Array) -> Iterator[Finding]:
    """Quantities that change slowly from row to row: sorted, or in the order of time or place."""
    size = min(32, len(y) // 4)
    if size < 8:
        return
    sizes = [size] * (len(y) // size)
    share = _share_between(y[: sum(sizes), None].astype(np.float64), sizes)
    expected = (len(sizes) - 1) / (sum(sizes) - 1)
    if share > max(0.5, expected + 0.35):
        text = (
            f"{share:.0%} of the targets' variance lies between blocks of {size} neighbouring rows, where a random "
            f"order gives {expected:.0%}: neighbours have like targets."
        )
        yield finding("unshuffled", text, likelihood=0.75, share=share, expected=expected)


def like_batches(y: Array, sizes: Sequence[int]) -> Iterator[Finding]:
    """Batches of like targets: the share of the targets' variance that lies between batches of these sizes."""
    if len(sizes) < 4 or min(sizes[:-1]) < 2 or len(y) != sum(sizes):
        return
    y = y.reshape(len(y), -1)
    if y.dtype.kind in "iub":
        y = y[:, :1] == np.unique(y)[None, :]
    share = _share_between(y.astype(np.float64), sizes)
    expected = (len(sizes) - 1) / (len(y) - 1)
    if share > min(0.9, expected + 0.35):
        text = (
            f"{share:.0%} of the targets' variance lies between batches, where {expected:.0%} would be by chance: each "
            "batch holds like targets."
        )
        yield finding("unshuffled", text, "training rows", share=share)


def _share_between(y: Array, sizes: Sequence[int]) -> float:
    """How much of the variance goes away when each batch is replaced by its mean; 0 where nothing varies."""
    mean = y.mean(axis=0)
    total = float(((y - mean) ** 2).sum())
    between, at = 0.0, 0
    for size in sizes:
        between += size * float(((y[at : at + size].mean(axis=0) - mean) ** 2).sum())
        at += size
    return between / total if total > 0 else 0.0
