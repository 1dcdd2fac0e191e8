"""The learning-rate range test: raise the rate batch by batch, and see where the loss falls and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import OperationError
from ...train.choices import resolve_optimizer
from ...utils.data import DataLoader
from ..finding import Finding, Findings
from .batches import Inputs, as_batch, frozen, loss_of, rows
from .restore import unchanged

SMOOTHING = 0.9
BROKEN = 4.0
"""The test ends where the smoothed loss is so many times its best."""

NOTICEABLE = 0.01
"""A smoothed loss that falls by less than this share, or by less than batches differ, has not fallen."""


@dataclass(frozen=True)
class LRRange:
    """What :func:`lr_range` found.

    Attributes:
        rates, losses: one entry a batch.
        smooth: the losses, smoothed by an exponential mean without bias towards the start.
        suggestion: a tenth of the rate at which the smoothed loss was lowest, or the rate at which it was halfway down,
            whichever is smaller; None where it never fell.
        findings: empty where a rate was found.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smooth: NDArray[np.float64]
    suggestion: float | None
    findings: Findings = field(default_factory=Findings)

    def plot(self) -> Any:
        """Loss against learning rate as a matplotlib figure."""
        from .plots import rate_curve

        return rate_curve(self.rates, self.losses, self.smooth, self.suggestion)

    def __str__(self) -> str:
        if self.suggestion is None:
            return str(self.findings)
        return f"suggested learning rate: {self.suggestion:.2g}"


def lr_range(
    model: Any,
    data: Any,
    loss: Any = "cross_entropy",
    optimizer: Any = "adam",
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
) -> LRRange:
    """Train for some batches with a rate that grows exponentially, and suggest one.

    Args:
        model: any ``nn.Module``.
        data: ``(inputs, targets)``, which is cut into shuffled batches, or a DataLoader.
        loss: a name, or a function of (output, target).
        optimizer: a name, a function of the parameters, or an Optimizer; its groups' rates keep their proportions.
        lowest, highest: the first and the last rate.
        steps: how many batches.
        batch_size: rows a batch, where ``data`` is no DataLoader.

    Returns:
        An :class:`LRRange`. Model, gradients, optimizer and random numbers are as before, bit for bit.

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, section 3.3.
    """
    if not 0 < lowest < highest or steps < 10:
        raise OperationError(f"lr_range: needs 0 < lowest < highest and steps >= 10, got {lowest}, {highest}, {steps}.")
    function = loss_of(loss)
    if not any(p.requires_grad for p in model.parameters()):
        nothing = np.zeros(0)
        return LRRange(nothing, nothing, nothing, None, Findings(frozen(model)))
    given = optimizer if hasattr(optimizer, "param_groups") else None
    rates: list[float] = []
    losses: list[float] = []
    with unchanged(model, given):
        chosen = resolve_optimizer(optimizer, model, None, None)
        shares = [group["lr"] / (chosen.param_groups[0]["lr"] or 1.0) for group in chosen.param_groups]
        model.train()
        batches = _batches(model, data, batch_size)
        best = math.inf
        for i in range(steps):
            rate = lowest * (highest / lowest) ** (i / (steps - 1))
            for group, share in zip(chosen.param_groups, shares, strict=True):
                group["lr"] = rate * share
            inputs, target = next(batches)
            chosen.zero_grad()
            value = function(model(*inputs), target)
            rates.append(rate)
            losses.append(float(value))
            smooth = _smoothed(losses)[-1]
            best = min(best, smooth)
            if not math.isfinite(losses[-1]) or (i > 10 and smooth > BROKEN * best):
                break
            value.backward()
            chosen.step()
    return _result(np.array(rates), np.array(losses))


def _result(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> LRRange:
    kept = np.isfinite(losses)
    rates, losses = rates[kept], losses[kept]
    smooth = _smoothed(losses.tolist())
    if not len(smooth):
        return LRRange(rates, losses, smooth, None, Findings([_no_start()]))
    # Rates in the first quarter are too low to change anything, and show how much batches differ.
    early = max(3, len(losses) // 4)
    start, noise = float(np.median(smooth[:early])), float(losses[:early].std())
    if start - smooth.min() > max(NOTICEABLE * abs(start), noise):
        halfway = int(np.argmax(smooth <= 0.5 * (start + smooth.min())))
        return LRRange(rates, losses, smooth, float(min(rates[int(smooth.argmin())] / 10, rates[halfway])))
    problem = Finding(
        "no_rate_learns",
        f"The loss hardly moved at any learning rate (from {start:.3g} to {smooth.min():.3g}).",
        "the gradient does not reach the weights, the model is trained already, or the targets cannot be learned.",
        "run check.flow and check.overfit on a batch.",
        likelihood=0.8,
    )
    return LRRange(rates, losses, smooth, None, Findings([problem]))


def _no_start() -> Finding:
    return Finding(
        "non_finite_loss",
        "The loss is NaN or infinite before the first update.",
        "NaN or infinity in the data or in a weight, or an operation outside its domain.",
        "run check.data on the rows; backward() under autograd.detect_anomaly() names the operation.",
        likelihood=0.97,
    )


def _smoothed(losses: list[float]) -> NDArray[np.float64]:
    found, mean = [], 0.0
    for i, value in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        found.append(mean / (1 - SMOOTHING**i))
    return np.array(found)


def _batches(model: Any, data: Any, size: int) -> Iterator[tuple[Inputs, Any]]:
    """Batches without end."""
    if isinstance(data, DataLoader):
        while True:
            for batch in data:
                yield as_batch(model, batch)
    inputs, target = as_batch(model, data)
    rng = np.random.default_rng(0)
    count = len(target)
    while True:
        order = rng.permutation(count)
        x, y = tuple(part[order] for part in inputs), target[order]
        for start in range(0, max(1, count - size + 1), size):
            yield rows(x, y, start, min(start + size, count))
