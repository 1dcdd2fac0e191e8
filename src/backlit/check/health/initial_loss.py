"""The loss of an untrained model against what an indifferent one would have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph import enable_grad
from ..finding import Finding, Findings
from .batches import as_batch, loss_of
from .heads import class_rows, kind_of_loss, mismatches
from .restore import unchanged

HIGH, LOW = {"mse": 3.0, "l1": 3.0}, 0.5
"""Random weights of a usual size raise the loss by a tenth, seldom by a half; chance lowers it by a few hundredths.
Beyond twice the expected value it is too high; for numbers, whose columns may lie off 0, beyond three times."""


@dataclass(frozen=True)
class InitialLoss:
    """What :func:`initial_loss` found.

    Attributes:
        value: the model's loss on the batch.
        expected: that of a model that knows nothing; NaN where the loss is none that is known.
        kind: which loss it is, told by its value; empty where unknown.
        formula: what ``expected`` is, such as ``ln 10``.
        findings: what a deviation means; empty when there is none.
    """

    value: float
    expected: float
    kind: str
    formula: str
    findings: Findings = field(default_factory=Findings)

    def __str__(self) -> str:
        return str(self.findings)


def initial_loss(model: Any, batch: Any, loss: Any = "cross_entropy") -> InitialLoss:
    """Compare the loss before training with that of an indifferent model.

    That is ln C for C classes, ln 2 for yes-or-no targets, the targets' variance for squared errors (1 where they are
    standardized), and their mean distance from the median for absolute errors.

    Args:
        model: an ``nn.Module`` that was not trained yet; used in the mode it is in, and left as it is.
        batch: ``(inputs, target)``; a hundred rows or more make the comparison fair.
        loss: a name, or a function of (output, target) that gives the mean.

    >>> import backlit as bl
    >>> model = bl.nn.Linear(4, 10)
    >>> found = initial_loss(model, (bl.randn(200, 4), bl.arange(200) % 10))
    >>> found.formula, round(found.expected, 3), found.findings
    ('ln 10', 2.303, <0 findings: none>)
    """
    inputs, target = as_batch(model, batch)
    with unchanged(model), enable_grad():
        output = model(*inputs)
        value = float(loss_of(loss)(output, target))
    kind = kind_of_loss(value, output, target)
    expected, formula = indifferent(kind, output, target)
    found = list(mismatches(kind, output, target)) or list(_deviation(value, expected, formula, kind, target))
    return InitialLoss(value, expected, kind or "", formula, Findings(found))


def indifferent(kind: str | None, output: Any, target: Any) -> tuple[float, str]:
    """The loss of a model that says the same for every row, as well as it can without knowing rows, and its formula."""
    classes = class_rows(output, target)
    if kind in ("cross_entropy", "nll") and classes is not None:
        count = classes[0].shape[1]
        return math.log(count), f"ln {count}"
    y = np.asarray(target._data, np.float64)
    if kind in ("bce", "bce_with_logits"):
        return math.log(2), "ln 2"
    if kind == "mse":
        return float(y.var(axis=0).mean()), "variance of the targets"
    if kind == "l1":
        return float(np.abs(y - np.median(y, axis=0)).mean()), "mean distance of the targets from their median"
    return math.nan, ""


def _deviation(value: float, expected: float, formula: str, kind: str | None, target: Any) -> Iterator[Finding]:
    if not math.isfinite(value):
        yield Finding(
            "non_finite_loss",
            f"The loss of the untrained model is {value}.",
            "the batch or the weights hold NaN or infinity, or the loss takes the logarithm of 0.",
            "check the batch with check.data, then run the loss under autograd.detect_anomaly().",
            likelihood=0.97,
        )
        return
    if not expected > 0:
        return
    numbers = (
        f"The loss of the untrained model is {value:.3g}, and one that knows nothing has {expected:.3g} ({formula})."
    )
    data = {"value": value, "expected": expected}
    if value > HIGH.get(kind or "", 2.0) * expected:
        yield Finding("initial_loss_too_high", numbers, *_why_high(kind, target), likelihood=0.75, data=data)
    elif value < LOW * expected:
        yield Finding(
            "initial_loss_too_low",
            numbers,
            "the model was trained already, or the inputs give the target away (a leaked column).",
            "check the model on a fresh copy; then look for the target among the inputs.",
            likelihood=0.6,
            data=data,
        )


def _why_high(kind: str | None, target: Any) -> tuple[str, str]:
    """Cause and remedy."""
    if kind in ("mse", "l1"):
        y = np.asarray(target._data, np.float64)
        if abs(y.mean()) > 1.4 * y.std():
            return (
                f"the targets lie far from 0 (mean {y.mean():.3g}, spread {y.std():.3g}), and the outputs around 0.",
                "standardize the targets (datasets.Standardizer), or set the last bias to their mean.",
            )
        return (
            "the outputs are spread much wider than the targets.",
            "standardize the inputs, or start with smaller weights.",
        )
    return (
        "the outputs are large before anything was learned, so the model is sure of itself and wrong.",
        "standardize the inputs, or start with smaller weights in the last layer.",
    )
