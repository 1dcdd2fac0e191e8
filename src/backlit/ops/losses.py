"""Losses: how far predictions are from targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import match


class MSELoss(Op):
    """Mean (or sum) of squared differences, in one pass."""

    name = "mse_loss"
    formula = "L = 1/n Σ (x − t)²"
    gate = "scales by 2(x − t)/n"

    def forward(x, target, *, scale):
        d = x - target
        d = d.reshape(-1)
        return np.dot(d, d) * scale if scale is not None else np.dot(d, d)

    def vjp_x(ctx, g, x, target):
        return (x - target) * (g * (2.0 * ctx.params["scale"]))

    def vjp_target(ctx, g, x, target):
        return (target - x) * (g * (2.0 * ctx.params["scale"]))

    def jvp_x(ctx, t, x, target):
        return ((x - target) * t).sum() * (2.0 * ctx.params["scale"])

    def jvp_target(ctx, t, x, target):
        return ((target - x) * t).sum() * (2.0 * ctx.params["scale"])


@operation(MSELoss, samples=lambda rng: [Sample(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))])
def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Squared error. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``."""
    if getattr(x, "dtype", None) is not getattr(target, "dtype", 0):
        x, target = match(x, target)
    size = x._data.size if isinstance(x, Tensor) else x.size
    return apply(MSELoss, (x, target), {"scale": 1.0 / size})
