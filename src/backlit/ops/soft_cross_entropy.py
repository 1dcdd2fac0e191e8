"""Cross-entropy of class scores with a distribution over the classes for each position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .definition import Intermediate, Op, Tensor, restored
from .elementwise import LIBRARY
from .labels import class_axis, over_classes
from .softmax import LogSoftmax, log_softmax


class SoftCrossEntropy(Op):
    """Cross-entropy of the scores' softmax with a distribution for each position."""

    name = "cross_entropy"
    formula = "L = −1/N Σₙ Σ_c w_c t_nc ln softmax(xₙ)_c"
    gate = "softmax(x) Σt − t, weighted: what was predicted minus what was asked for"
    has_extra = True

    def forward(x, target, weight=None, *, reduction, smoothing):
        axis = class_axis(x)
        logs = log_softmax(x, axis)
        losses = -(logs * _mixed(x, target, weight, smoothing)).sum(axis=axis)
        if reduction == "none":
            return losses, logs
        loss = np.add.reduce(losses, axis=None)
        return loss if reduction == "sum" else loss / (losses.size or math.nan), logs

    def intermediates(params, extra):
        return (Intermediate(0, LogSoftmax, {"axis": class_axis(extra)}, extra),)

    def vjp_x(ctx, g, target, weight):
        logs = _logs(ctx, g)
        return _spread(ctx, g, logs) * _soft_slope(ctx, logs, target, weight)

    def vjp_target(ctx, g, weight):
        logs = _logs(ctx, g)
        return _spread(ctx, g, logs) * _target_slope(ctx, logs, weight)

    def jvp_x(ctx, t, x, target, weight):
        return _summed(ctx, t * _soft_slope(ctx, log_softmax(x, class_axis(x)), target, weight))

    def jvp_target(ctx, t, x, weight):
        return _summed(ctx, t * _target_slope(ctx, log_softmax(x, class_axis(x)), weight))


def _mixed(x: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """What is asked for: the target, mixed with the uniform distribution, times the class weights."""
    axis = class_axis(x)
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[axis]
    return target if weight is None else target * _by_class(x, weight)


def _by_class(x: Any, weight: Any) -> Any:
    return weight.reshape((-1, *[1] * (x.ndim - 2)))


def _logs(ctx: Any, g: Any) -> Any:
    """The log-probabilities, with their history where the rule is recorded."""
    if not isinstance(g, Tensor):
        return ctx.extra
    return restored(ctx, *SoftCrossEntropy.intermediates(ctx.params, ctx.extra))


def _soft_slope(ctx: Any, logs: Any, target: Any, weight: Any) -> Any:
    q = _mixed(logs, target, weight, ctx.params["smoothing"])
    return LIBRARY.exp(logs) * q.sum(axis=class_axis(logs), keepdims=True) - q


def _target_slope(ctx: Any, logs: Any, weight: Any) -> Any:
    slope = logs * (ctx.params["smoothing"] - 1.0)
    return slope if weight is None else slope * _by_class(logs, weight)


def _count(x: Any) -> int:
    """How many distributions there are."""
    return math.prod(x.shape) // max(1, x.shape[class_axis(x)])


def _spread(ctx: Any, g: Any, x: Any) -> Any:
    return g / (_count(x) or math.nan) if ctx.params["reduction"] == "mean" else over_classes(ctx, g, x)


def _summed(ctx: Any, products: Any) -> Any:
    if ctx.params["reduction"] == "none":
        return products.sum(axis=class_axis(products))
    total = products.sum()
    return total / (_count(products) or math.nan) if ctx.params["reduction"] == "mean" else total
