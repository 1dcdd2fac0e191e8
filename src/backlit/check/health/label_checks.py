"""Labels: out of balance, in runs, contradicting each other, or unrelated to the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..finding import Finding

Array = NDArray[Any]

BALANCE, MOST_CLASSES = 10.0, 100
NEIGHBOUR_ROWS = 1500
ENOUGH_ROWS = 200


def label_findings(x: Array, y: Array) -> Iterator[Finding]:
    """The faults of the targets ``y`` of rows ``x`` (rows, columns)."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        return
    if _are_classes(y):
        yield from _balance(y)
        yield from _order(y)
    yield from _contradictions(x, y)
    yield from _unrelated(x, y)


def _are_classes(y: Array) -> bool:
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isin(y, (0.0, 1.0)).all()))
    return whole and len(np.unique(y)) <= min(MOST_CLASSES, max(2, len(y) // 5))


def _balance(y: Array) -> Iterator[Finding]:
    classes, counts = np.unique(y, return_counts=True)
    common, rare = int(counts.argmax()), int(counts.argmin())
    data = {"counts": dict(zip(classes.tolist(), counts.tolist(), strict=True))}
    if len(classes) == 1:
        if len(y) >= 10:
            yield Finding(
                "single_class",
                f"All {len(y)} rows have the label {classes[0]}.",
                "the rows were filtered or sorted before they were split.",
                "shuffle before splitting, and check how the labels are read.",
                likelihood=0.95,
                data=data,
            )
    elif len(y) >= 50 and counts[common] > BALANCE * counts[rare]:
        yield Finding(
            "class_imbalance",
            f"Label {classes[common]} has {counts[common]} rows and label {classes[rare]} {counts[rare]}; a model that "
            f"always says {classes[common]} is right in {counts[common] / len(y):.0%}.",
            "the classes are not equally frequent where the data come from.",
            "weight the loss (weight= of cross_entropy), draw rare classes more often, judge by the recall of each.",
            likelihood=0.7,
            data=data,
        )


def _order(y: Array) -> Iterator[Finding]:
    """Neighbours with the same label far more often than chance gives."""
    _, counts = np.unique(y, return_counts=True)
    expected = float(np.sum((counts / len(y)) ** 2))
    if len(y) < 50 or len(counts) < 2 or expected > 0.9:
        return
    same = float(np.mean(y[1:] == y[:-1]))
    error = np.sqrt(expected * (1 - expected) / (len(y) - 1))
    if same - expected > max(0.5 * (1 - expected), 6 * error):
        yield Finding(
            "unshuffled",
            f"{same:.0%} of neighbouring rows have the same label, where a random order gives {expected:.0%}.",
            "the rows are in the order of their labels, so that batches and splits by position see few classes.",
            "train with shuffle=True, and split at random.",
            likelihood=0.75,
            data={"same": same, "expected": expected},
        )


def _contradictions(x: Array, y: Array) -> Iterator[Finding]:
    """Equal rows with different targets, where chance does not explain them."""
    _, group = np.unique(np.ascontiguousarray(x), axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    repeats = (group[order][1:] == group[order][:-1]) & (y[order][1:] != y[order][:-1])
    share = float(repeats.sum()) / len(y)
    columns_alike = len(np.unique(group)) == 1
    if share > 0.05 and x.shape[1] > 1 and not columns_alike and len(np.unique(group)) > 0.5 * len(y):
        yield Finding(
            "contradicting_labels",
            f"{int(repeats.sum())} rows ({share:.0%}) have the same inputs as another row and a different target.",
            "inputs and targets were joined wrongly, or the inputs lack what tells the targets apart.",
            "look at these rows; no model can learn them.",
            likelihood=0.8,
        )


def _unrelated(x: Array, y: Array) -> Iterator[Finding]:
    """Targets that neither the nearest neighbour nor any single column says anything about."""
    if x.dtype.kind != "f" or len(y) < ENOUGH_ROWS:
        return
    chosen = np.linspace(0, len(y) - 1, min(len(y), NEIGHBOUR_ROWS)).astype(int)
    rows, targets = x[chosen].astype(np.float64), y[chosen]
    spread = rows.std(axis=0)
    rows = (rows[:, spread > 0] - rows[:, spread > 0].mean(axis=0)) / spread[spread > 0]
    if not rows.shape[1]:
        return
    classes = _are_classes(y)
    if len(np.unique(targets)) < 2 or _column_tells(rows, targets, classes):
        return
    score = _neighbour_score(rows, targets, classes)
    if abs(score) < 2.5:
        what = "labels" if classes else "targets"
        yield Finding(
            "labels_unrelated",
            f"The {what} of nearest neighbours agree no more than chance gives ({score:.1f} standard errors), and no "
            f"column is related to the {what}.",
            f"the {what} belong to other rows (shuffled apart), or the inputs do not hold what decides them.",
            "check that inputs and targets are still in the same order; then look for better inputs.",
            likelihood=0.55,
            data={"score": score},
        )


def _column_tells(rows: Array, targets: Array, classes: bool) -> bool:
    """Whether any column's mean differs between classes, or it correlates with a number, beyond chance."""
    count, width = rows.shape
    limit = np.sqrt(2 * np.log(2 * width * 100)) / np.sqrt(count)  # one false alarm in a hundred over all columns
    if classes:
        wanted = np.unique(targets)
        indicators = [(targets == c).astype(np.float64) for c in wanted]
        limit = np.sqrt(2 * np.log(2 * width * len(wanted) * 100)) / np.sqrt(count)
    else:
        indicators = [targets.astype(np.float64)]
    for indicator in indicators:
        centred = indicator - indicator.mean()
        size = np.sqrt(np.mean(centred**2))
        if size > 0 and np.abs(rows.T @ centred / (count * size)).max() > limit:
            return True
    return False


def _neighbour_score(rows: Array, targets: Array, classes: bool) -> float:
    """How far the agreement with the nearest other row is from chance, in standard errors."""
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    other = targets[distances.argmin(axis=1)]
    count = len(targets)
    if classes:
        _, counts = np.unique(targets, return_counts=True)
        chance = float(np.sum((counts / count) ** 2))
        return float((np.mean(other == targets) - chance) / np.sqrt(max(chance * (1 - chance), 1e-12) / count))
    a, b = targets.astype(np.float64), other.astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return np.inf
    return float(np.corrcoef(a, b)[0, 1] * np.sqrt(count))
