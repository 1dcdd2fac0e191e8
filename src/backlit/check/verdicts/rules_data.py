"""Faults of the rows that a network is trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..finding import Finding
from ..health.data import data
from .faults import finding
from .situation import Situation, table_of

Array = NDArray[Any]
NEIGHBOURS = 1000


_OF_ROWS = frozenset({"non_finite_data", "not_standardized", "constant_feature", "duplicate_feature", "leakage"})


def data_faults(s: Situation) -> Iterator[Finding]:
    """Everything that the rows show, alone or together with what the model makes of them. NaN hides the rest."""
    found = list(_of_rows(s))
    yield from found
    if any(f.kind == "non_finite_data" for f in found):
        return
    for rule in _RULES:
        yield from rule(s)


def _of_rows(s: Situation) -> Iterator[Finding]:
    """What :func:`backlit.check.data` says of the rows, as the model takes them."""
    inputs, target = s.rows
    if len(inputs) != 1 or not target.ndim or len(inputs[0]._data) != len(target._data):
        return
    held_out = None
    if s.validation is not None and s.validation[0][0].shape[1:] == inputs[0].shape[1:]:
        held_out = (s.validation[0][0], s.validation[1])
    for f in data((inputs[0], target), validation=held_out):
        if f.kind not in _OF_ROWS or (f.kind in ("constant_feature", "duplicate_feature") and _pictures(s)):
            continue
        if f.kind == "not_standardized":
            if _normalizes_first(s):
                continue
            f = replace(f, likelihood=0.5 if s.learned else 0.92)
        yield f


def _pictures(s: Situation) -> bool:
    """Many equal lowest values: pixels, counts, or one-hot rows, of which some are always 0."""
    x = s.features
    return x is None or float((x == x.min()).mean()) > 0.2


def _normalizes_first(s: Situation) -> bool:
    """Whether the first thing the model does is to normalize its inputs."""
    seen = s.notes.get("pass")
    first = [a.name for a in seen.applied if a.name not in ("reshape", "flatten")][:2] if seen else []
    return any(name in ("batch_statistics", "batch_norm", "layer_norm", "standardize") for name in first)


def leaking_normalization(s: Situation) -> Iterator[Finding]:
    """Together the rows have mean 0 and deviation 1 to rounding, while the training rows alone do not."""
    x, held_out = s.features, None if s.validation is None else table_of(s.validation)
    if x is None or held_out is None or x.shape[1] != held_out.shape[1]:
        return
    together = np.concatenate([x, held_out])
    varying = together.std(axis=0) > 1e-12
    if not varying.any() or len(x) < 8:
        return

    def miss(rows: Array) -> float:
        part = rows[:, varying]
        return float(np.median(np.maximum(np.abs(part.mean(axis=0)), np.abs(part.std(axis=0) - 1))))

    alone, both = miss(x), miss(together)
    if both < 1e-5 and alone > 100 * max(both, 1e-7):
        text = (
            f"Training and validation rows together have mean 0 and deviation 1 to {both:.0e}; the training rows alone "
            f"are {alone:.2g} off."
        )
        yield finding("leaking_normalization", text, "validation")


def order(s: Situation) -> Iterator[Finding]:
    """Batches of like targets: the share of the targets' variance that lies between batches."""
    sizes = [len(target._data) if target.ndim else 1 for _, target in s.batches]
    if not s.in_order or len(sizes) < 4 or min(sizes[:-1]) < 2:
        return
    y = s.target.reshape(len(s.target), -1)
    if y.dtype.kind in "iub":
        y = (y[:, :1] == np.unique(y)[None, :]).astype(np.float64)
    y = y.astype(np.float64)
    if len(y) != sum(sizes):
        return
    total = float(((y - y.mean(axis=0)) ** 2).sum())
    between, at = 0.0, 0
    for size in sizes:
        between += size * float(((y[at : at + size].mean(axis=0) - y.mean(axis=0)) ** 2).sum())
        at += size
    expected = (len(sizes) - 1) / (len(y) - 1)
    if total > 0 and between / total > min(0.9, expected + 0.35):
        text = (
            f"{between / total:.0%} of the targets' variance lies between batches, where {expected:.0%} would be by "
            "chance: each batch holds like targets."
        )
        yield finding("unshuffled", text, "training rows", share=between / total)


def label_offset(s: Situation) -> Iterator[Finding]:
    """Class labels from 1 to C, for which the output has C places, or one more that is never used."""
    y = s.target
    if y.dtype.kind not in "iu" or not y.size or int(y.min()) != 1:
        return
    error, places = s.notes["pass"].error, s.notes["pass"].output
    outputs = places.shape[1] if places is not None and places.ndim == y.ndim + 1 else 0
    top, seen = int(y.max()), len(np.unique(y))
    if (outputs == top and error is not None) or (outputs == top + 1 == seen + 1 and len(y) > 10 * top and top > 1):
        text = f"The labels go from 1 to {top}, and the model has {outputs} outputs, for classes 0 to {outputs - 1}."
        yield finding("label_offset", text, "targets")


def unrelated(s: Situation) -> Iterator[Finding]:
    """Held-out rows are answered no better than by chance, and neighbours do not share labels either."""
    held_out, score = s.validation_score, s.score
    if held_out is None or score is None or s.validation is None:
        return
    if s.classes and held_out.accuracy is not None and score.accuracy is not None:
        y = s.validation[1]._data
        chance = float(np.unique(y, return_counts=True)[1].max() / y.size)
        margin = 2.5 * math.sqrt(chance * (1 - chance) / y.size)
        if score.accuracy < s.majority + 0.15 or held_out.accuracy > chance + margin or chance > 0.8:
            return
        near = _neighbours(s)
        if near is None or near[0] <= near[1]:
            text = (
                f"Training accuracy is {score.accuracy:.0%}, validation accuracy {held_out.accuracy:.0%}, where always "
                f"saying the commonest class gives {chance:.0%}"
                + ("." if near is None else f"; nearest neighbours share a label in {near[0]:.0%} of cases only.")
            )
            yield finding("labels_unrelated", text, "targets")


def _neighbours(s: Situation) -> tuple[float, float] | None:
    """How often a training row's nearest neighbour has its label, and how often at most by chance."""
    x, y = s.features, s.target
    if x is None or len(x) < 40 or y.size != len(x):
        return None
    x, y = x[:NEIGHBOURS], y.reshape(-1)[:NEIGHBOURS]
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    squares = (x * x).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    agree = float((y[distance.argmin(axis=1)] == y).mean())
    shares = np.unique(y, return_counts=True)[1] / len(y)
    chance = float((shares**2).sum())
    return agree, chance + 3 * math.sqrt(chance * (1 - chance) / len(y))


def imbalance(s: Situation) -> Iterator[Finding]:
    """A class with few rows is never answered."""
    score = s.score
    if score is None or score.said is None or not s.classes:
        return
    y = s.target.reshape(score.said.shape)
    labels, counts = np.unique(y, return_counts=True)
    if len(labels) < 2:
        return
    common = int(counts.argmax())
    rare = [i for i in range(len(labels)) if 4 * counts[i] <= counts[common] and counts[i] >= 2]
    recall = [float((score.said[y == labels[i]] == labels[i]).mean()) for i in rare]
    said = float((score.said == labels[common]).mean())
    if rare and max(recall) < 0.1 and said > 0.95 and counts[common] > 0.7 * counts.sum():
        text = (
            f"{counts[common] / counts.sum():.0%} of the rows are of class {labels[common]}, and the model answers it "
            f"for {said:.0%} of all rows; of class {labels[rare[0]]} it recognises {recall[0]:.0%}."
        )
        yield finding("class_imbalance", text, f"class {labels[rare[0]]}", majority=s.majority)


_RULES: tuple[Callable[[Situation], Iterator[Finding]], ...] = (
    leaking_normalization, order, label_offset, unrelated, imbalance,
)  # fmt: skip
