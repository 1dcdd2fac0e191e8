"""What to try next: the faults that a run shows, each with the numbers that show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..check.curves import Curves, judge
from ..check.faults import FAULTS, finding
from ..check.finding import Finding
from .record import Report
from .svg import short


@dataclass(frozen=True)
class Advice:
    """A fault, the numbers that show it, and what usually helps."""

    fault: str
    evidence: str
    remedy: str


def advise(report: Report) -> list[Advice]:
    """The faults found, most urgent first; empty where nothing stands out."""
    found = [*judge(_curves(report)), *_imbalanced(report)]
    return [_advice(fault) for fault in (*_wrong_gradients(report), *found)]


def _curves(report: Report) -> Curves:
    """The report's curves, as the rules take them."""
    return Curves(
        report.curves,
        report.epochs,
        {layer.name: layer.gradient_norm for layer in report.flow},
        {layer.name: layer.update_ratio for layer in report.flow},
        report.dead_units,
        report.failure and report.failure.removeprefix("fit: ").split(";")[0].rstrip(".") + ".",
        report.validation_count,
    )


def _advice(found: Finding) -> Advice:
    """A finding in the words of the report, with the options of ``backlit train`` that help."""
    fault = FAULTS[found.kind]
    options = f" ({fault.options})" if fault.options else ""
    return Advice(fault.title, found.evidence, f"{found.remedy.rstrip('.')}{options}.")


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
        yield finding(
            "rare_class",
            f"{report.classes[rare]!r} has {counts[rare]} training rows and is recognised in {recall[rare]:.0%} of "
            f"{tested[rare]} test rows; {report.classes[common]!r} has {counts[common]} and {recall[common]:.0%}.",
            report.classes[rare],
        )


def _wrong_gradients(report: Report) -> Iterator[Finding]:
    wrong = [check for check in report.checks if check.checked and check.relative > 1e-3]
    if wrong:
        worst = max(wrong, key=lambda check: check.relative)
        yield finding(
            "wrong_gradients",
            f"{worst.name}: the backward pass says {short(worst.analytic)}, differences {short(worst.numeric)}.",
            worst.name,
        )
