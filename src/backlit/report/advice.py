"""What to try next: the faults that a run shows, each with the numbers that show it.

The rules are those of :mod:`backlit.check`; here they get a title, and the options of ``backlit train`` that help.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..check.finding import Finding
from ..check.health.course import Course, judge_course, unfinished
from ..check.verdicts.run_record import depth_faults
from .record import Report
from .svg import short


@dataclass(frozen=True)
class Advice:
    """A fault, the numbers that show it, and what usually helps."""

    fault: str
    evidence: str
    remedy: str


class Title(NamedTuple):
    """What a kind of finding is called, and the options of ``backlit train`` that help."""

    text: str
    options: str = ""


TITLES: dict[str, Title] = {
    "diverged": Title("The training diverged", "--lr, or --clip 1"),
    "learning_rate_too_high": Title("The learning rate is too high", "--lr"),
    "learning_rate_too_low": Title("The learning rate is too low", "--lr"),
    "unsteady_loss": Title("The learning rate may be too high", "--lr, --batch-size"),
    "overfitting": Title("It overfits", "--augment, --dropout 0.2, --weight-decay 0.01, --early-stopping 5"),
    "underfitting": Title("It underfits", "--layers"),
    "not_converged": Title("It has not converged yet", "--epochs"),
    "dead_units": Title("Many units are dead", "--lr, or --activation leaky_relu or gelu"),
    "dead_layer": Title("A whole layer is dead", "--lr, or --activation leaky_relu or gelu"),
    "saturation": Title("Units are saturated", "--lr, or --activation relu or gelu"),
    "vanishing_gradients": Title("The gradient vanishes on its way back", "--activation relu, or fewer --layers"),
    "exploding_gradients": Title("The gradient explodes on its way back", "--clip 1"),
    "wrong_gradients": Title("The gradient check failed"),
    "rare_class": Title("A rare class is neglected"),
}


def advise(report: Report) -> list[Advice]:
    """The faults found, most urgent first; empty where nothing stands out."""
    return [advice_of(found) for found in _found(report)]


def advice_of(found: Finding) -> Advice:
    """A finding in the words of the report."""
    title = TITLES.get(found.kind) or Title(found.kind.replace("_", " ").capitalize())
    remedy = found.remedy[:1].upper() + found.remedy[1:].rstrip(".")
    return Advice(title.text, found.evidence, f"{remedy} ({title.options})." if title.options else f"{remedy}.")


def _found(report: Report) -> Iterator[Finding]:
    """Causes first, then what follows from them. A divergence explains everything else and is told alone."""
    course = Course(
        {name: list(curve) for name, curve in report.curves.items()},
        report.epochs,
        {layer.name: layer.update_ratio for layer in report.flow},
        report.failure,
        report.validation_count,
    )
    seen = list(judge_course(course))
    if any(f.kind == "diverged" or (f.kind == "learning_rate_too_high" and f.likelihood > 0.9) for f in seen):
        yield from seen
        return
    causes = [*_wrong_gradients(report), *_layers(report)]
    yield from causes
    yield from (f for f in seen if not (causes and f.kind == "underfitting"))
    yield from unfinished(course)
    yield from _imbalanced(report)


def _layers(report: Report) -> Iterator[Finding]:
    """What a pass through the trained network shows, and what the gradients of training show besides."""
    now = [] if report.health is None else list(report.health.findings)
    yield from now
    kinds = {found.kind for found in now}
    norms = {layer.name: layer.gradient_norm for layer in report.flow}
    yield from (found for found in depth_faults(norms) if found.kind not in kinds)


def _imbalanced(report: Report) -> Iterator[Finding]:
    """A class with a third of the largest one's rows or fewer, which is recognised clearly less often."""
    if len(report.class_counts) < 2 or report.confusion is None or not report.confusion.sum():
        return
    counts, tested = np.array(report.class_counts), report.confusion.sum(axis=1)
    recall = np.diag(report.confusion) / np.maximum(tested, 1)
    common = int(counts.argmax())
    neglected = np.flatnonzero((3 * counts <= counts[common]) & (tested > 0) & (recall < recall[common] - 0.1))
    if len(neglected):
        rare = int(neglected[recall[neglected].argmin()])
        yield Finding(
            "rare_class",
            f"{report.classes[rare]!r} has {counts[rare]} training rows and is recognised in {recall[rare]:.0%} of "
            f"{tested[rare]} test rows; {report.classes[common]!r} has {counts[common]} and {recall[common]:.0%}.",
            "it has few rows, so that getting it wrong costs little.",
            "collect more rows of the rare class, or repeat them in the training file.",
            report.classes[rare],
        )


def _wrong_gradients(report: Report) -> Iterator[Finding]:
    wrong = [check for check in report.checks if check.checked and check.relative > 1e-3]
    if wrong:
        worst = max(wrong, key=lambda check: check.relative)
        yield Finding(
            "wrong_gradients",
            f"{worst.name}: the backward pass says {short(worst.analytic)}, differences {short(worst.numeric)}.",
            "an operation has a wrong gradient rule.",
            "look at the operations of this layer first; a custom one may have a wrong gradient rule.",
            worst.name,
        )
