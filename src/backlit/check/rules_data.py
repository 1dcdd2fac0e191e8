"""Faults of the rows that a network is trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faults import finding
from .finding import Finding
from .situation import Situation, table_of

Array = NDArray[Any]
NEIGHBOURS = 1000


def data_faults(s: Situation) -> Iterator[Finding]:
    """Everything that the rows alone show. Rows with NaN hide the rest."""
    broken = list(non_finite(s))
    yield from broken
    if broken:
        return
    for rule in _RULES:
        yield from rule(s)


def non_finite(s: Situation) -> Iterator[Finding]:
    """NaN or infinity among inputs or targets."""
    inputs, target = s.rows
    for what, tensor in (*(("inputs", x) for x in inputs), ("targets", target)):
        array = tensor._data
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        shown = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        text = f"{len(bad)} of {len(array)} rows of the {what} hold NaN or infinity (rows {shown})."
        yield finding("non_finite_data", text, what, rows=bad.tolist())


def not_standardized(s: Situation) -> Iterator[Finding]:
    """Features that are large, far from 0 for their spread, or of very unequal size."""
    x = s.features
    if x is None or len(x) < 4 or _normalizes_first(s):
        return
    deviation = x.std(axis=0)
    varying = deviation > 1e-12
    if not varying.any():
        return
    size, spread = np.sqrt((x * x).mean(axis=0)), deviation[varying]
    largest = int(size.argmax())
    offset = np.where(varying & (size > 3), np.abs(x.mean(axis=0)) / np.where(varying, deviation, 1), 0)
    sparse = float((x == 0).mean()) > 0.3
    unequal = spread.max() / spread.min()
    likelihood = None if not s.learned else 0.5
    if size[largest] > 25:
        text = f"Feature {largest} has size {size[largest]:.3g} (root mean square), where about 1 is usual."
    elif offset.max() > 10:
        at = int(offset.argmax())
        text = (
            f"Feature {at} has mean {x[:, at].mean():.3g} and deviation {deviation[at]:.3g}, where 0 and 1 are usual."
        )
    elif unequal > 200 and not sparse:
        text = f"The deviations of the features range from {spread.min():.2g} to {spread.max():.2g}."
    else:
        return
    yield finding("not_standardized", text, f"feature {largest}", likelihood)


def _normalizes_first(s: Situation) -> bool:
    """Whether the first thing the model does is to normalize its inputs."""
    seen = s.notes.get("pass")
    first = [a.name for a in seen.applied if a.name not in ("reshape", "flatten")][:2] if seen else []
    return any(name in ("batch_statistics", "batch_norm", "layer_norm", "standardize") for name in first)


def columns(s: Situation) -> Iterator[Finding]:
    """Constant and duplicate columns of tables. Pixels that are always blank are usual in pictures."""
    x = s.features
    if x is None or len(x) < 8 or x.shape[1] < 2 or s.rows[0][0].ndim != 2 or _pictures(x):
        return
    constant = np.flatnonzero(np.ptp(x, axis=0) == 0)
    if len(constant):
        text = f"{_numbered(constant)} had the same value in all {len(x)} rows."
        yield finding("constant_feature", text, f"feature {constant[0]}", columns=constant.tolist())
    groups: dict[bytes, list[int]] = {}
    for i in np.flatnonzero(np.ptp(x, axis=0) > 0):
        groups.setdefault(x[:, i].tobytes(), []).append(int(i))
    equal = [group for group in groups.values() if len(group) > 1]
    if equal:
        text = f"{_numbered(equal[0])} are equal in all {len(x)} rows."
        yield finding("duplicate_feature", text, f"feature {equal[0][1]}", groups=equal)


def _pictures(x: Array) -> bool:
    """Many equal lowest values and nothing below: pixels, counts, or one-hot rows."""
    return float((x == x.min()).mean()) > 0.2


def _numbered(which: Any) -> str:
    shown = ", ".join(str(i) for i in which[:6]) + (", …" if len(which) > 6 else "")
    return f"Feature {shown}" if len(which) == 1 else f"Features {shown}"


def leakage(s: Situation) -> Iterator[Finding]:
    """Validation rows that are training rows, more often than rows repeat anyway."""
    x, held_out = s.features, None if s.validation is None else table_of(s.validation)
    if x is None or held_out is None or x.shape[1] != held_out.shape[1] or len(held_out) < 5:
        return
    known = [row.tobytes() for row in x]
    repeated = 1 - len(set(known)) / len(known)
    shared = _share(known, held_out)
    count = round(shared * len(held_out))
    if count >= 2 and shared > 0.02 and shared > 3 * repeated:
        text = f"{count} of {len(held_out)} validation rows are equal to a training row."
        yield finding("leakage", text, "validation", share=shared)
        return
    yield from _leaking_normalization(x, held_out)


def _share(known: list[bytes], rows: Array) -> float:
    there = set(known)
    return float(np.mean([row.tobytes() in there for row in rows]))


def _leaking_normalization(x: Array, held_out: Array) -> Iterator[Finding]:
    """Together the rows have mean 0 and deviation 1 to rounding, while the training rows alone do not."""
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
    not_standardized, columns, leakage, order, label_offset, unrelated, imbalance,
)  # fmt: skip
