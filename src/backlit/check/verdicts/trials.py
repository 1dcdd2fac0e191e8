"""Experiments on copies: what a few more steps would do with another learning rate, without decay, without dropout."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import enable_grad, no_grad
from ...numerics import quiet
from ...random import default_generator
from .situation import Situation, first_rows, untouched

STEPS, LONG = 40, 120
ROWS = 512
MAX_SECONDS = 0.15
"""About how long one trial may take; larger networks are not tried."""

_OPERATION, _MULTIPLICATION = 50e-6, 2e-10
"""Seconds, roughly: for one operation forward and backward beside its arithmetic, and for one multiplication."""

Change = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Trial:
    """The loss on the training rows before and after some steps; infinite where it stopped being a number."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """The share of the loss that was gained; negative where it grew."""
        return (self.before - self.after) / abs(self.before) if self.before else 0.0


def affordable(situation: Situation) -> bool:
    """Whether a trial is short work for this network."""
    weights = sum(p.numel() for p in situation.model.parameters())
    rows = len(situation.batches[0][1]._data) if situation.batches[0][1].ndim else 1
    operations = len(situation.notes["pass"].applied)
    return STEPS * (operations * _OPERATION + 3 * weights * rows * _MULTIPLICATION) < MAX_SECONDS


def attempt(
    situation: Situation, change: Change, steps: int = STEPS, *, fresh: bool = False, forget: bool = False
) -> Trial:
    """Take some steps with a changed copy, and see what becomes of the loss.

    Args:
        change: called as ``change(model, optimizer)`` with the copies.
        steps: how many, on the batches in turn. Every trial draws the same random numbers.
        fresh: draw the weights anew first; implies ``forget``.
        forget: clear what the optimizer remembers of earlier gradients.
    """
    with untouched():
        return _attempt(situation, change, steps, fresh, forget or fresh)


def _attempt(situation: Situation, change: Change, steps: int, fresh: bool, forget: bool) -> Trial:
    default_generator.manual_seed(0)
    model, optimizer = situation.copies()
    if forget:
        optimizer.state.clear()
    if fresh:
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    change(model, optimizer)
    before = _loss(situation, model)
    try:
        with enable_grad(), quiet():
            for i in range(steps):
                inputs, target = situation.batches[i % len(situation.batches)]
                model.train()
                optimizer.zero_grad()
                situation.loss.function(model(*inputs), target).backward()
                optimizer.step()
    except Exception:
        return Trial(before, math.inf)
    return Trial(before, _loss(situation, model))


def scaled_rate(factor: float) -> Change:
    """Another learning rate."""

    def change(model: Any, optimizer: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = float(group["lr"]) * factor

    return change


def without_decay(model: Any, optimizer: Any) -> None:
    """No weight decay."""
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0


def without_dropout(model: Any, optimizer: Any) -> None:
    """No unit is switched off."""
    for module in model.modules():
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0


def _loss(situation: Situation, model: Any) -> float:
    """The loss on the training rows: batch normalization by the batch, no dropout."""
    model = copy.deepcopy(model).train()
    without_dropout(model, None)
    inputs, target = first_rows(situation.rows, ROWS)
    try:
        with no_grad(), quiet():
            value = float(situation.loss.function(model(*inputs), target))
    except Exception:
        return math.inf
    return value if np.isfinite(value) else math.inf
