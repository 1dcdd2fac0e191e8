"""Can a model learn a handful of examples by heart? One that cannot will learn nothing from many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph import no_grad
from ...train.choices import resolve_optimizer
from ..finding import Finding, Findings
from .batches import Inputs, LossFunction, as_batch, frozen, loss_of, rows
from .flow import flow
from .heads import class_rows, kind_of_loss, mismatches
from .initial_loss import indifferent
from .probe import first_tensor
from .restore import unchanged

RATES = (1e-2, 1e-3, 1e-1)
LEARNED = 0.05
"""Learned by heart is a loss below this share of what a model has that knows nothing."""


@dataclass(frozen=True)
class Overfit:
    """What :func:`overfit` found.

    Attributes:
        learned: whether the examples were learned by heart.
        losses: the loss of each step, of the best try.
        lr: the learning rate of that try; NaN where the optimizer was given.
        findings: what stands in the way; empty where they were learned.
    """

    learned: bool
    losses: list[float]
    lr: float
    findings: Findings = field(default_factory=Findings)

    def __bool__(self) -> bool:
        return self.learned

    def __str__(self) -> str:
        return str(self.findings)


def overfit(
    model: Any,
    batch: Any,
    loss: Any = "cross_entropy",
    *,
    steps: int = 300,
    optimizer: Any = None,
    examples: int = 16,
) -> Overfit:
    """Train on a few examples until they are known by heart, and if that fails say why.

    Dropout is off, since noise hides what is asked here. All else is in training mode.

    Args:
        model: any ``nn.Module``.
        batch: ``(inputs, target)``; the first ``examples`` rows are used.
        loss: a name, or a function of (output, target).
        steps: how many updates at most, for each learning rate that is tried.
        optimizer: a name, a function of the parameters, or an Optimizer; by default Adam with a few learning rates.
        examples: how many rows.

    Returns:
        An :class:`Overfit`, true where the examples were learned. The model, the optimizer and random numbers are as
        before, bit for bit.

    >>> import backlit as bl
    >>> model = bl.nn.Sequential(bl.nn.Linear(4, 32), bl.nn.Tanh(), bl.nn.Linear(32, 3))
    >>> bool(overfit(model, (bl.randn(8, 4), bl.arange(8) % 3)))
    True
    """
    if not any(p.requires_grad for p in model.parameters()):
        return Overfit(False, [], math.nan, Findings(frozen(model)))
    inputs, target = as_batch(model, batch)
    inputs, target = rows(inputs, target, 0, min(examples, len(target)))
    function = loss_of(loss)
    tries = [(math.nan, optimizer)] if optimizer is not None else [(rate, None) for rate in RATES]
    best: tuple[list[float], float] = ([], math.nan)
    found: list[Finding] = []
    for rate, given in tries:
        with unchanged(model, given if hasattr(given, "param_groups") else None):
            losses, learned = _train(model, inputs, target, function, steps, rate, given)
            if not best[0] or learned or min(losses) < min(best[0]):
                best = losses, rate
            if learned:
                return Overfit(True, losses, rate)
            if not found:
                found = list(_after(model, inputs, target, function, losses))
    return Overfit(False, best[0], best[1], Findings(_explained(model, inputs, target, function, best[0], found)))


def _train(
    model: Any, inputs: Inputs, target: Any, loss: LossFunction, steps: int, rate: float, given: Any
) -> tuple[list[float], bool]:
    """The losses, and whether the examples were learned."""
    chosen = resolve_optimizer(given or "adam", model, None if given is not None else rate, None)
    model.train()
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.eval()
    losses: list[float] = []
    goal = math.nan
    for _ in range(steps):
        output = model(*inputs)
        value = loss(output, target)
        if not losses:
            goal = _goal(float(value), output, target)
        losses.append(float(value))
        if losses[-1] <= goal or not math.isfinite(losses[-1]):
            break
        if not value.requires_grad:
            break
        chosen.zero_grad()
        value.backward()
        chosen.step()
    return losses, losses[-1] <= goal


def _goal(value: float, output: Any, target: Any) -> float:
    kind = kind_of_loss(value, output, target)
    expected, _ = indifferent(kind, output, target)
    return LEARNED * (expected if expected > 0 else abs(value))


def _after(model: Any, inputs: Inputs, target: Any, loss: LossFunction, losses: list[float]) -> Iterator[Finding]:
    """What the trained model shows that the untrained one did not."""
    if not math.isfinite(losses[-1]):
        return
    yield from flow(model, (*inputs, target), loss, pieces=0).findings


def _explained(
    model: Any, inputs: Inputs, target: Any, loss: LossFunction, losses: list[float], after: list[Finding]
) -> list[Finding]:
    """What stands in the way from the start; else what training ran into; else that it is not known."""
    found = list(flow(model, (*inputs, target), loss, pieces=0).findings)
    with unchanged(model):
        output = model(*inputs)
        value = float(loss(output, target))
    found += mismatches(kind_of_loss(value, output, target), output, target)
    found += _contradictions(inputs, target)
    return found or list(_constant(model, inputs)) or after or [_unknown(losses, output, target)]


def _contradictions(inputs: Inputs, target: Any) -> Iterator[Finding]:
    """Equal inputs with different targets."""
    wanted = target._data
    seen: dict[bytes, int] = {}
    pairs = []
    for i in range(len(wanted)):
        key = b"".join(np.ascontiguousarray(part._data[i]).tobytes() for part in inputs)
        first = seen.setdefault(key, i)
        if first != i and not np.array_equal(wanted[first], wanted[i]):
            pairs.append((first, i))
    if pairs:
        yield Finding(
            "contradicting_examples",
            f"{len(pairs)} of {len(wanted)} rows have the inputs of another row and a different target "
            f"(rows {pairs[0][0]} and {pairs[0][1]}).",
            "the inputs do not hold what tells the targets apart, or inputs and targets were mixed up.",
            "look at these rows; no model can learn them.",
            likelihood=0.93,
            data={"pairs": pairs},
        )


def _constant(model: Any, inputs: Inputs) -> Iterator[Finding]:
    """An output that does not depend on the input."""
    with no_grad(), unchanged(model):
        model.eval()
        first = first_tensor(model(*inputs))
    if first is None:
        return
    output = np.asarray(first._data, np.float64)
    spread = float(np.ptp(output, axis=0).max()) if len(output) > 1 else math.inf
    if spread <= 1e-6 * (1.0 + float(np.abs(output).max())):
        yield Finding(
            "constant_output",
            f"The output is the same for all {len(output)} rows (to within {spread:.1g}).",
            "the signal of the inputs is lost on its way: zero weights, or inputs much smaller than the biases.",
            "standardize the inputs, and look at the spread of each layer's output in check.flow(…).table().",
            likelihood=0.9,
        )


def _unknown(losses: list[float], output: Any, target: Any) -> Finding:
    classes = class_rows(output, target)
    more = "" if classes is None else f" of {classes[0].shape[1]} classes"
    return Finding(
        "cannot_overfit",
        f"After {len(losses)} steps the loss of {len(target)} examples{more} is still {min(losses):.3g} "
        f"(at the start {losses[0]:.3g}).",
        "the model is too small or too strongly restricted for them, or the loss has a term that cannot fall.",
        "widen the model, remove penalties, or check the gradients with check.model.",
        likelihood=0.6,
        data={"first": losses[0], "best": min(losses)},
    )
