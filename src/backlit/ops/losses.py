"""Losses between numbers: squared, absolute and in between, and the divergence between distributions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Sample, Tensor, apply, constant, operation
from .elementwise import LIBRARY
from .pointwise import REDUCTIONS, Pointwise, pair, reduced, reduction_of, shared, weighted


class MSELoss(Pointwise):
    """Squared differences; their sum is one inner product."""

    name = "mse_loss"
    formula = "L = 1/n Σ (x − t)²"
    gate = "scales by 2(x − t)/n"

    def value(s, x, target):
        return s.square(x - target)

    def forward(x, target, *, reduction):
        d = x - target
        if reduction == "none":
            return d * d
        flat = d.reshape(-1)
        total = np.dot(flat, flat)
        return total if reduction == "sum" else total / (flat.size or math.nan)

    def pull_x(s, g, x, target):
        return s.gated(g * 2.0, x - target)

    def pull_target(s, g, x, target):
        return s.gated(g * 2.0, target - x)


class L1Loss(Pointwise):
    """Absolute differences. Of both inputs only the signs of their differences are kept."""

    name = "l1_loss"
    formula = "L = 1/n Σ |x − t|"
    gate = "passes with the sign of x − t, divided by n"
    gradients: ClassVar = {"x": "g ⊙ sign(x − target)", "target": "g ⊙ sign(target − x)"}
    domain = "kink at x = t, where the slope 0 is used"

    has_extra = True

    def value(s, x, target):
        return s.abs(x - target)

    def forward(x, target, *, reduction):
        d = x - target
        return reduced(np.abs(d), reduction), np.sign(d)

    def vjp_x(ctx, g):
        return LIBRARY.gated(shared(ctx, g), constant(ctx.extra) if isinstance(g, Tensor) else ctx.extra)

    def vjp_target(ctx, g):
        return -L1Loss.vjp_x(ctx, g)

    def jvp_x(ctx, t):
        return reduced(LIBRARY.gated(t, constant(ctx.extra)), ctx.params["reduction"])

    def jvp_target(ctx, t):
        return -L1Loss.jvp_x(ctx, t)


class SmoothL1Loss(Pointwise):
    """Squared differences below ``beta``, absolute ones above (Girshick 2015)."""

    name = "smooth_l1_loss"
    formula = "L = 1/n Σ (½d²/β if |d| < β else |d| − ½β), d = x − t"
    gate = "scales by d/β, between −1 and 1"

    def value(s, x, target, *, beta):
        d = x - target
        a = s.abs(d)
        return s.where(a < beta, d * d * (0.5 / beta), a - 0.5 * beta)

    def slope_x(s, x, target, *, beta):
        return s.minimum(s.maximum((x - target) / beta, -1.0), 1.0)

    def slope_target(s, x, target, *, beta):
        return s.minimum(s.maximum((target - x) / beta, -1.0), 1.0)


class HuberLoss(Pointwise):
    """Squared differences below ``delta``, ``delta`` times absolute ones above (Huber 1964)."""

    name = "huber_loss"
    formula = "L = 1/n Σ (½d² if |d| ≤ δ else δ(|d| − ½δ)), d = x − t"
    gate = "scales by d, kept between −δ and δ"

    def value(s, x, target, *, delta):
        d = x - target
        a = s.abs(d)
        return s.where(a <= delta, d * d * 0.5, (a - 0.5 * delta) * delta)

    def slope_x(s, x, target, *, delta):
        return s.minimum(s.maximum(x - target, -delta), delta)

    def slope_target(s, x, target, *, delta):
        return s.minimum(s.maximum(target - x, -delta), delta)


class KLDiv(Pointwise):
    """Kullback–Leibler divergence of log-probabilities ``x`` from the target distribution."""

    name = "kl_div"
    formula = "L = Σ t (ln t − x)"
    gate = "scales by −t"
    domain = "t ≥ 0 (0 ln 0 counts as 0), or any t for log-targets"

    def value(s, x, target, *, log_target):
        if log_target:
            return s.exp(target) * (target - x)
        return target * s.log(s.where(target == 0, 1.0, target)) - target * x

    def slope_x(s, target, *, log_target):
        return -(s.exp(target) if log_target else target)

    def slope_target(s, x, target, *, log_target):
        if log_target:
            return s.exp(target) * (target - x + 1.0)
        return s.log(target) + 1.0 - x

    @classmethod
    def samples(cls, rng):
        x = rng.normal(size=(3, 4))
        for reduction in (*REDUCTIONS, "batchmean"):
            yield Sample(x, rng.uniform(0.1, 1.0, size=(3, 4)), reduction=reduction)
        yield Sample(x, rng.normal(size=(3, 4)), reduction="batchmean", log_target=True)
        yield Sample(rng.normal(size=()), rng.uniform(0.1, 1.0, size=()))


@operation(MSELoss)
def mse_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Any = None
) -> Tensor:
    """Squared error ``(input − target)²``: its mean, its sum, or (``"none"``) every entry.

    Args:
        weight: one weight for each entry; the mean is then divided by their sum.

    Raises:
        OperationError: the shapes differ. (They are not broadcast: (N, 1) against (N,) would compare N² pairs.)

    >>> import backlit as bl
    >>> bl.mse_loss(bl.tensor([1.0, 2.0]), bl.tensor([0.0, 4.0]))
    tensor(2.5)
    """
    x, target = pair("mse_loss", input, target)
    params = {"reduction": reduction_of("mse_loss", reduction, size_average, reduce)}
    if weight is not None:
        return weighted("mse_loss", MSELoss, (x, target), weight, params, by_weight=True)
    return apply(MSELoss, (x, target), params)


@operation(L1Loss)
def l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Any = None
) -> Tensor:
    """Absolute error ``|input − target|``; arguments as for :func:`mse_loss`."""
    x, target = pair("l1_loss", input, target)
    params = {"reduction": reduction_of("l1_loss", reduction, size_average, reduce)}
    if weight is not None:
        return weighted("l1_loss", L1Loss, (x, target), weight, params, by_weight=True)
    return apply(L1Loss, (x, target), params)


@operation(SmoothL1Loss)
def smooth_l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """``½d²/beta`` where the difference ``d`` is below ``beta``, ``|d| − ½beta`` above; ``beta=0`` is :func:`l1_loss`.

    Raises:
        OperationError: the shapes differ, or ``beta`` is negative.
    """
    if beta < 0:
        raise OperationError(f"smooth_l1_loss at {describe(mark())}: beta={beta} is negative.")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    params = {"reduction": reduction_of("smooth_l1_loss", reduction, size_average, reduce), "beta": float(beta)}
    return apply(SmoothL1Loss, pair("smooth_l1_loss", input, target), params)


@operation(HuberLoss)
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Tensor:
    """``½d²`` where the difference ``d`` is at most ``delta``, ``delta (|d| − ½delta)`` above.

    Raises:
        OperationError: the shapes differ, or ``delta`` is not positive.
    """
    if not delta > 0:
        raise OperationError(f"huber_loss at {describe(mark())}: delta={delta} must be positive.")
    x, target = pair("huber_loss", input, target)
    params = {"reduction": reduction_of("huber_loss", reduction), "delta": float(delta)}
    if weight is not None:
        return weighted("huber_loss", HuberLoss, (x, target), weight, params, by_weight=False)
    return apply(HuberLoss, (x, target), params)


@operation(KLDiv)
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback–Leibler divergence ``Σ target (ln target − input)``.

    Args:
        input: log-probabilities.
        target: probabilities, or log-probabilities with ``log_target``.
        reduction: ``"batchmean"`` divides the sum by the first size, which is the divergence of the batch on average;
            ``"mean"`` divides by the number of entries, as in PyTorch.

    Raises:
        OperationError: the shapes differ.
    """
    reduction = reduction_of("kl_div", reduction, size_average, reduce, "batchmean")
    x, target = pair("kl_div", input, target)
    params = {"reduction": "sum" if reduction == "batchmean" else reduction, "log_target": bool(log_target)}
    out = apply(KLDiv, (x, target), params)
    return out / (x.shape[0] or math.nan) if reduction == "batchmean" and x.ndim else out
