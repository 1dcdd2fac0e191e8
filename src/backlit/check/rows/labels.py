"""Labels: out of balance, counted from 1, or contradicting each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..faults import finding
from ..finding import Finding
from .table import Array, Table

BALANCE, MOST_CLASSES = 10.0, 100


def are_classes(y: Array) -> bool:
    """Whether targets are classes and not quantities."""
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isin(y, (0.0, 1.0)).all()))
    return whole and len(np.unique(y)) <= min(MOST_CLASSES, max(2, len(y) // 5))


def balance(y: Array) -> Iterator[Finding]:
    """One class only, or one with ten times the rows of another."""
    classes, counts = np.unique(y, return_counts=True)
    common, rare = int(counts.argmax()), int(counts.argmin())
    known = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    if len(classes) == 1:
        if len(y) >= 10:
            yield finding("single_class", f"All {len(y)} rows have the label {classes[0]}.", counts=known)
    elif len(y) >= 50 and counts[common] > BALANCE * counts[rare]:
        text = (
            f"Label {classes[common]} has {counts[common]} rows and label {classes[rare]} {counts[rare]}; a model that "
            f"always says {classes[common]} is right in {counts[common] / len(y):.0%}."
        )
        yield finding("class_imbalance", text, likelihood=0.7, counts=known)


def unanswered_class(y: Array, said: Array) -> Iterator[Finding]:
    """A class with few rows that a model hardly ever answers; ``said`` holds its answers."""
    classes, counts = np.unique(y, return_counts=True)
    common = int(counts.argmax())
    rare = [i for i in range(len(classes)) if 4 * counts[i] <= counts[common] and counts[i] >= 2]
    recall = [float((said[y == classes[i]] == classes[i]).mean()) for i in rare]
    always = float((said == classes[common]).mean())
    majority = float(counts[common] / counts.sum())
    if rare and max(recall) < 0.1 and always > 0.95 and majority > 0.7:
        text = (
            f"{majority:.0%} of the rows are of class {classes[common]}, and the model answers it for {always:.0%} of "
            f"all rows; of class {classes[rare[0]]} it recognises {recall[0]:.0%}."
        )
        yield finding("class_imbalance", text, f"class {classes[rare[0]]}", majority=majority)


def label_offset(y: Array, outputs: int, refused: bool) -> Iterator[Finding]:
    """Class labels from 1 to C, for which the output has C places, or one more that is never used.

    Args:
        y: the labels.
        outputs: how many classes the model answers; 0 where it answers something else.
        refused: whether the loss raised an error.
    """
    if y.dtype.kind not in "iu" or not y.size or int(y.min()) != 1:
        return
    top, seen = int(y.max()), len(np.unique(y))
    if (outputs == top and refused) or (outputs == top + 1 == seen + 1 and len(y) > 10 * top and top > 1):
        text = f"The labels go from 1 to {top}, and the model has {outputs} outputs, for classes 0 to {outputs - 1}."
        yield finding("label_offset", text, "targets")


def contradictions(table: Table) -> Iterator[Finding]:
    """Equal rows with different targets, where chance does not explain them."""
    x, y = np.ascontiguousarray(table.x), table.y
    _, group = np.unique(x, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    repeats = (group[order][1:] == group[order][:-1]) & (y[order][1:] != y[order][:-1])
    share, groups = float(repeats.sum()) / len(y), len(np.unique(group))
    if share > 0.05 and x.shape[1] > 1 and groups > 1 and groups > 0.5 * len(y):
        text = f"{int(repeats.sum())} rows ({share:.0%}) have the same inputs as another row and a different target."
        yield finding("contradicting_labels", text)
