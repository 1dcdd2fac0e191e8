"""What to try next: known faults that curves and gradients show, each with the numbers that show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .record import Curve, Report
from .svg import short


@dataclass(frozen=True)
class Advice:
    """A fault, the numbers that show it, and what usually helps."""

    fault: str
    evidence: str
    remedy: str


def advise(report: Report) -> list[Advice]:
    """The faults found, most urgent first; empty where nothing stands out."""
    diverged = list(_diverged(report))
    if diverged:
        return diverged
    causes = [advice for rule in _CAUSES for advice in rule(report)]
    fit = [] if causes else list(_underfitting(report))
    return causes + fit + [advice for rule in _CONSEQUENCES for advice in rule(report)]


def _diverged(report: Report) -> Iterator[Advice]:
    loss = report.curves.get("loss", [])
    if report.failure:
        yield Advice(
            "The training diverged",
            report.failure.removeprefix("fit: ").split(";")[0].rstrip(".") + ".",
            "Lower the learning rate to a tenth (--lr), or limit the gradient norm (--clip 1).",
        )
    elif len(loss) >= 3 and loss[-1] > 2 * loss[0]:
        yield Advice(
            "The learning rate is too high",
            f"The training loss grew from {short(loss[0])} to {short(loss[-1])} instead of falling.",
            "Lower the learning rate to a tenth (--lr).",
        )
    elif _largest_ratio(report) > 1 and not _learned(report):
        yield Advice(
            "The learning rate is far too high",
            f"Updates were up to {short(_largest_ratio(report))} times as large as the weights, where 0.001 is usual.",
            "Lower the learning rate to a hundredth (--lr).",
        )


def _unsteady(report: Report) -> Iterator[Advice]:
    """A rate that is too high shows in large relative updates together with a loss that jumps up again and again."""
    loss = report.curves.get("loss", [])
    if len(loss) < 6:
        return
    rises = [b / a for a, b in pairwise(loss) if b > 1.15 * a]
    ratio = _median_ratio(report)
    if len(rises) >= max(3, len(loss) // 5) and loss[-1] > 0.05 * loss[0] and not ratio < 3e-3:
        yield Advice(
            "The learning rate may be too high",
            f"The training loss rose by more than 15 % in {len(rises)} of {len(loss) - 1} epochs; updates are about "
            f"{short(ratio)} of the weights, where 0.001 is usual.",
            "Divide the learning rate by 3 (--lr), or use larger batches (--batch-size).",
        )


def _slow(report: Report) -> Iterator[Advice]:
    loss, ratio = report.curves.get("loss", []), _median_ratio(report)
    if len(loss) >= 3 and ratio < 1e-4 and loss[-1] > 0.5 * loss[0]:
        yield Advice(
            "The learning rate is too low",
            f"Updates are about {short(ratio)} of the weights, where 0.001 is usual, and the loss only went from "
            f"{short(loss[0])} to {short(loss[-1])}.",
            "Multiply the learning rate by 10 (--lr).",
        )


def _unfinished(report: Report) -> Iterator[Advice]:
    loss, held_out = report.curves.get("loss", []), report.curves.get("val_loss", [])
    watched = held_out or loss
    if len(watched) < 5 or _median_ratio(report) < 1e-4:
        return
    before, after = _thirds(watched)
    best_late = int(np.argmin(watched)) >= len(watched) - max(1, len(watched) // 10) - 1
    if best_late and after < 0.88 * before and _accuracy_left(report):
        yield Advice(
            "It has not converged yet",
            f"The {'validation' if held_out else 'training'} loss still fell from {short(before)} to {short(after)} "
            "over the last third, and its best value is at the end.",
            f"Train longer (--epochs {2 * max(1, round(report.epochs[-1]))}), or raise the learning rate.",
        )


def _overfitting(report: Report) -> Iterator[Advice]:
    loss, held_out = _smooth(report.curves.get("loss", [])), _smooth(report.curves.get("val_loss", []))
    if len(held_out) < 4 or not np.isfinite(held_out).all():
        return
    best = int(np.nanargmin(held_out))
    turned = best < 0.85 * len(held_out) and held_out[-1] > 1.1 * held_out[best] and loss[-1] < 0.9 * loss[best]
    accuracy, held_out_accuracy = report.curves.get("accuracy", []), report.curves.get("val_accuracy", [])
    gap = accuracy[-1] - held_out_accuracy[-1] if accuracy and held_out_accuracy else 0.0
    chance = 1.0 / math.sqrt(max(report.validation_count, 1))  # two standard errors of an accuracy, at most
    if (turned and held_out[-1] > 1.5 * loss[-1]) or gap > max(0.05, chance):
        evidence = (
            f"The validation loss was lowest around epoch {short(report.epochs[best])} ({short(held_out[best])}) and "
            f"is {short(held_out[-1])} at the end, while the training loss fell to {short(loss[-1])}."
            if turned
            else f"Training accuracy is {accuracy[-1]:.1%} and validation accuracy {held_out_accuracy[-1]:.1%}."
        )
        more = "--augment" if report.mistakes and report.mistakes[0].image is not None else "more rows"
        yield Advice("It overfits", evidence, f"{more}, --dropout 0.2, --weight-decay 0.01, or --early-stopping 5.")


def _underfitting(report: Report) -> Iterator[Advice]:
    accuracy, loss = report.curves.get("accuracy", []), report.curves.get("loss", [])
    if len(accuracy) < 5 or accuracy[-1] >= 0.9:
        return
    before, after = _thirds(loss)
    held_out = report.curves.get("val_accuracy", [])
    if after > 0.95 * before and (not held_out or accuracy[-1] - held_out[-1] < 0.05):
        yield Advice(
            "It underfits",
            f"Training accuracy is only {accuracy[-1]:.1%}, and the training loss hardly moved over the last third "
            f"({short(before)} to {short(after)}).",
            "A wider or deeper network (--layers), less regularization, or another activation.",
        )


def _dead(report: Report) -> Iterator[Advice]:
    silent = {layer: share for layer, share in report.dead_units.items() if share > 0.3}
    if silent:
        layer, share = max(silent.items(), key=lambda item: item[1])
        yield Advice(
            "Many units are dead",
            f"{share:.0%} of the units of layer {layer} give 0 for every row looked at, so no gradient reaches "
            "their weights.",
            "Lower the learning rate (--lr), or use --activation leaky_relu or gelu.",
        )
    layers = [flow for flow in report.flow if _finite(flow.gradient_norm)]
    if len(layers) >= 3:
        first, last = (float(np.median(_finite(f.gradient_norm))) for f in (layers[0], layers[-1]))
        if last > 0 and first < 1e-3 * last:
            yield Advice(
                "The gradient vanishes on its way back",
                f"The gradient norm of {layers[0].name} is {short(first)}, that of {layers[-1].name} {short(last)}.",
                "Use --activation relu instead of sigmoid or tanh, or fewer layers.",
            )


def _imbalanced(report: Report) -> Iterator[Advice]:
    if len(report.class_counts) < 2 or report.confusion is None or not report.confusion.sum():
        return
    counts, tested = np.array(report.class_counts), report.confusion.sum(axis=1)
    recall = np.diag(report.confusion) / np.maximum(tested, 1)
    common = int(counts.argmax())
    neglected = np.flatnonzero((3 * counts <= counts[common]) & (tested > 0) & (recall < recall[common] - 0.1))
    if len(neglected):
        rare = int(neglected[recall[neglected].argmin()])
        yield Advice(
            "A rare class is neglected",
            f"{report.classes[rare]!r} has {counts[rare]} training rows and is recognised in {recall[rare]:.0%} of "
            f"{tested[rare]} test rows; {report.classes[common]!r} has {counts[common]} and {recall[common]:.0%}.",
            "Collect more rows of the rare class, or repeat them in the training file.",
        )


def _wrong_gradients(report: Report) -> Iterator[Advice]:
    wrong = [check for check in report.checks if check.checked and check.relative > 1e-3]
    if wrong:
        worst = max(wrong, key=lambda check: check.relative)
        yield Advice(
            "The gradient check failed",
            f"{worst.name}: the backward pass says {short(worst.analytic)}, differences {short(worst.numeric)}.",
            "Look at the operations of this layer first; a custom one may have a wrong gradient rule.",
        )


_Rules = tuple[Callable[[Report], Iterator[Advice]], ...]
_CAUSES: _Rules = (_wrong_gradients, _unsteady, _slow, _dead)
_CONSEQUENCES: _Rules = (_overfitting, _unfinished, _imbalanced)


def _finite(values: Curve) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _median_ratio(report: Report) -> float:
    """The median update-to-weight ratio of all layers; NaN where none was recorded."""
    ratios = [v for flow in report.flow for v in _finite(flow.update_ratio)]
    return float(np.median(ratios)) if ratios else math.nan


def _largest_ratio(report: Report) -> float:
    return max((v for flow in report.flow for v in _finite(flow.update_ratio)), default=0.0)


def _learned(report: Report) -> bool:
    accuracy, loss = report.curves.get("accuracy", []), report.curves.get("loss", [])
    return accuracy[-1] > 0.9 if accuracy else loss[-1] < 0.5 * loss[0]


def _smooth(values: Curve) -> Curve:
    """The running mean over about a tenth of the curve, to see through the noise of single epochs."""
    width = max(1, len(values) // 10)
    return [float(np.mean(values[max(0, i - width + 1) : i + 1])) for i in range(len(values))]


def _thirds(values: Curve) -> tuple[float, float]:
    """The value at the beginning and at the end of the last third, each the mean of neighbours to calm noise."""
    third = max(2, len(values) // 3)
    few = max(1, third // 3)
    return float(np.mean(values[-third : len(values) - third + few])), float(np.mean(values[-few:]))


def _accuracy_left(report: Report) -> bool:
    """Whether there is anything left to win."""
    accuracy = report.curves.get("val_accuracy") or report.curves.get("accuracy")
    return not accuracy or accuracy[-1] < 0.995
