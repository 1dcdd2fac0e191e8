"""What the curves of a run mean: losses, accuracies and update sizes, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..finding import Finding, Findings

Curve = list[float]

SMALL_RATIO = 1e-4
"""Updates of less than a ten-thousandth of the weights hardly move them within the usual number of epochs."""

WILD_RATIO = 10.0
"""Layers that start near zero can double in a step; nothing sound grows tenfold, epoch mean for epoch mean."""


@dataclass(frozen=True)
class Course:
    """A run as numbers.

    Attributes:
        curves: columns of the history: ``loss``, ``val_loss``, ``accuracy``, ``val_accuracy`` and others.
        epochs: the number of each entry; 1, 2, … by default.
        update_ratio: layer → ``‖ΔW‖ / ‖W‖`` an epoch.
        failure: why training broke off, if it did.
        validation_count: how many rows the validation columns are means over; 0 where unknown.
    """

    curves: Mapping[str, Curve]
    epochs: Curve = field(default_factory=list)
    update_ratio: Mapping[str, Curve] = field(default_factory=dict)
    failure: str = ""
    validation_count: int = 0

    def column(self, name: str) -> Curve:
        """A curve, or an empty one."""
        return self.curves.get(name) or []

    @property
    def median_ratio(self) -> float:
        """The median update-to-weight ratio of all layers and epochs; NaN where none was recorded."""
        found = [value for curve in self.update_ratio.values() for value in curve if math.isfinite(value)]
        return float(np.median(found)) if found else math.nan

    @property
    def largest_ratio(self) -> float:
        """The largest update-to-weight ratio; 0 where none was recorded."""
        found = [value for curve in self.update_ratio.values() for value in curve if math.isfinite(value)]
        return max(found, default=0.0)


def curves(
    columns: Mapping[str, Curve],
    *,
    update_ratio: Mapping[str, Curve] | None = None,
    failure: str = "",
    validation_count: int = 0,
) -> Findings:
    """What the curves of a run show: too high or too low a rate, divergence, overfitting, underfitting.

    Args:
        columns: as ``History.columns``, or the columns of a run's ``metrics.csv``.
        update_ratio: layer → update-to-weight ratio an epoch, as in ``layers.csv``.
        failure: the message training broke off with.
        validation_count: how many validation rows there are, to tell a gap from chance.

    >>> curves({"loss": [1.0, 2.0, 3.0, 5.0]}).kinds
    ['learning_rate_too_high']
    """
    return Findings(judge_course(Course(columns, [], update_ratio or {}, failure, validation_count)))


def judge_course(course: Course) -> list[Finding]:
    """The faults that a run's curves show; one that explains others hides them."""
    diverged = list(_diverged(course))
    if diverged:
        return diverged
    causes = [*_unsteady(course), *_slow(course)]
    fit = [] if causes else list(_underfitting(course))
    return [*causes, *fit, *_overfitting(course)]


def _diverged(course: Course) -> Iterator[Finding]:
    loss = course.column("loss")
    if course.failure:
        yield Finding(
            "diverged",
            course.failure.removeprefix("fit: ").split(";")[0].rstrip(".") + ".",
            "the learning rate is too high, unless the data or an operation made the first NaN.",
            "lower the learning rate to a tenth, or limit the gradient norm (clip_grad_norm=1.0).",
            likelihood=0.95,
        )
    elif len(loss) >= 3 and loss[-1] > 2 * abs(loss[0]):
        yield Finding(
            "learning_rate_too_high",
            f"The training loss grew from {loss[0]:.3g} to {loss[-1]:.3g} instead of falling.",
            "each update overshoots.",
            "lower the learning rate to a tenth.",
            likelihood=0.98,
        )
    elif course.largest_ratio > WILD_RATIO or (course.largest_ratio > 1 and not _learned(course)):
        yield Finding(
            "learning_rate_too_high",
            f"Updates were up to {course.largest_ratio:.3g} times as large as the weights, where 0.001 is usual.",
            "each update throws away what was learned before.",
            "lower the learning rate to a hundredth.",
            likelihood=0.98,
            data={"ratio": course.largest_ratio},
        )


def _unsteady(course: Course) -> Iterator[Finding]:
    """A rate that is too high shows in large relative updates together with a loss that jumps up again and again."""
    loss = course.column("loss")
    if len(loss) < 6:
        return
    rises = [b / a for a, b in pairwise(loss) if b > 1.15 * a > 0]
    ratio = course.median_ratio
    if len(rises) >= max(3, len(loss) // 5) and loss[-1] > 0.05 * loss[0] and not ratio < 3e-3:
        size = "" if math.isnan(ratio) else f"; updates are about {ratio:.3g} of the weights, where 0.001 is usual"
        yield Finding(
            "unsteady_loss",
            f"The training loss rose by more than 15 % in {len(rises)} of {len(loss) - 1} epochs{size}.",
            "the learning rate may be too high, or the batches too small.",
            "divide the learning rate by 3, or use larger batches.",
            likelihood=0.8,
            data={"rises": len(rises), "ratio": ratio},
        )


def _slow(course: Course) -> Iterator[Finding]:
    loss, ratio = course.column("loss"), course.median_ratio
    if len(loss) >= 3 and ratio < SMALL_RATIO and loss[-1] > 0.5 * loss[0]:
        yield Finding(
            "learning_rate_too_low",
            f"Updates are about {ratio:.3g} of the weights, where 0.001 is usual, and the loss only went from "
            f"{loss[0]:.3g} to {loss[-1]:.3g}.",
            "the learning rate is too low.",
            "multiply the learning rate by 10.",
            likelihood=0.85,
            data={"ratio": ratio},
        )


def unfinished(course: Course) -> Iterator[Finding]:
    """Whether more epochs would have helped. No fault, so not among those of :func:`judge_course`."""
    loss, held_out = course.column("loss"), course.column("val_loss")
    watched = held_out or loss
    if len(watched) < 5 or course.median_ratio < SMALL_RATIO:
        return
    before, after = _thirds(watched)
    best_late = int(np.argmin(watched)) >= len(watched) - max(1, len(watched) // 10) - 1
    if best_late and after < 0.88 * before and _accuracy_left(course):
        last = course.epochs[-1] if course.epochs else len(watched)
        yield Finding(
            "not_converged",
            f"The {'validation' if held_out else 'training'} loss still fell from {before:.3g} to {after:.3g} "
            "over the last third, and its best value is at the end.",
            "training ended before it was done.",
            f"train longer ({2 * max(1, round(last))} epochs), or raise the learning rate.",
            likelihood=0.3,
            data={"epochs": 2 * max(1, round(last))},
        )


def _overfitting(course: Course) -> Iterator[Finding]:
    loss, held_out = smooth(course.column("loss")), smooth(course.column("val_loss"))
    if len(held_out) < 4 or not np.isfinite(held_out).all():
        return
    best = int(np.nanargmin(held_out))
    turned = best < 0.85 * len(held_out) and held_out[-1] > 1.1 * held_out[best] and loss[-1] < 0.9 * loss[best]
    accuracy, held_out_accuracy = course.column("accuracy"), course.column("val_accuracy")
    gap = accuracy[-1] - held_out_accuracy[-1] if accuracy and held_out_accuracy else 0.0
    chance = 1.0 / math.sqrt(max(course.validation_count, 1))  # two standard errors of an accuracy, at most
    if (turned and held_out[-1] > 1.5 * loss[-1]) or gap > max(0.05, chance):
        epoch = course.epochs[best] if course.epochs else best + 1
        evidence = (
            f"The validation loss was lowest around epoch {epoch:.0f} ({held_out[best]:.3g}) and "
            f"is {held_out[-1]:.3g} at the end, while the training loss fell to {loss[-1]:.3g}."
            if turned
            else f"Training accuracy is {accuracy[-1]:.1%} and validation accuracy {held_out_accuracy[-1]:.1%}."
        )
        yield Finding(
            "overfitting",
            evidence,
            "the network learns the training rows by heart.",
            "more or augmented data, dropout 0.2, weight decay 0.01, or early stopping.",
            likelihood=0.5,
            data={"gap": gap, "best_epoch": epoch},
        )


def _underfitting(course: Course) -> Iterator[Finding]:
    accuracy, loss = course.column("accuracy"), course.column("loss")
    if len(accuracy) < 5 or accuracy[-1] >= 0.9:
        return
    before, after = _thirds(loss)
    held_out = course.column("val_accuracy")
    if after > 0.95 * before and (not held_out or accuracy[-1] - held_out[-1] < 0.05):
        yield Finding(
            "underfitting",
            f"Training accuracy is only {accuracy[-1]:.1%}, and the training loss hardly moved over the last third "
            f"({before:.3g} to {after:.3g}).",
            "the network is too small, too strongly regularized, or its signals are blocked (see check.flow).",
            "a wider or deeper network, less regularization, or another activation.",
            likelihood=0.55,
        )


def smooth(values: Curve) -> Curve:
    """The running mean over about a tenth of the curve, to see through the noise of single epochs."""
    width = max(1, len(values) // 10)
    return [float(np.mean(values[max(0, i - width + 1) : i + 1])) for i in range(len(values))]


def _learned(course: Course) -> bool:
    accuracy, loss = course.column("accuracy"), course.column("loss")
    return accuracy[-1] > 0.9 if accuracy else bool(loss) and loss[-1] < 0.5 * loss[0]


def _thirds(values: Curve) -> tuple[float, float]:
    """The value at the beginning and at the end of the last third, each the mean of neighbours to calm noise."""
    third = max(2, len(values) // 3)
    few = max(1, third // 3)
    return float(np.mean(values[-third : len(values) - third + few])), float(np.mean(values[-few:]))


def _accuracy_left(course: Course) -> bool:
    """Whether there is anything left to win."""
    accuracy = course.column("val_accuracy") or course.column("accuracy")
    return not accuracy or accuracy[-1] < 0.995
