"""Batch normalisation: channels standardised over the batch in training, by collected statistics otherwise."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OperationError
from ..graph import mode
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .joining import stack
from .standardize import (
    Layout,
    affine,
    dots,
    floating,
    means,
    move,
    pull_back,
    push_forward,
    require_channels,
    scaled,
    standardized,
    standardized_form,
)

Array = np.ndarray


class BatchStatistics(Op):
    """Mean and variance (over n, not n − 1) of each channel: two rows, constants to the graph."""

    name = "batch_statistics"
    formula = "μ = mean(x), σ² = mean((x − μ)²)"
    differentiable = False

    def forward(x, *, layout):
        v = x.reshape(layout.view)
        mean = means(v, layout)
        centred = v - mean
        return np.stack([mean.reshape(-1), (dots(centred, centred, layout.axes) / layout.size).reshape(-1)])


class BatchNorm(Op):
    """Channels standardised by the statistics of the batch, or shifted and scaled by collected ones.

    ``statistics`` holds the values of both; in training the rules know that they depend on ``x``.
    """

    name = "batch_norm"
    formula = "y = w (x − μ) / √(σ² + ε) + b,  μ and σ² over batch and space"
    gate = "in training as layer_norm, across the batch; otherwise scales by w / √(σ² + ε)"

    def forward(x, weight, bias, statistics, *, layout, eps, training):
        mean, scale = _from_statistics(statistics, layout, eps, x.dtype)
        if weight is not None:
            scale = scale * weight.reshape(layout.affine)
        return affine(scaled(x.reshape(layout.view), mean, scale), None, bias, layout).reshape(x.shape)

    @classmethod
    def gradient_form(cls, name, ctx):
        if ctx.params["training"] or name != "x":
            return standardized_form(name, ctx, "each channel across the batch", "mean_batch")
        scaled = "weight ⊙ g" if ctx.shapes[1] else "g"
        return f"({scaled})/s; s: √(σ² + ε) of the collected statistics"

    def vjp(ctx, g, x, weight, statistics):
        layout = ctx.params["layout"]
        normal, scale = _batch_normal(ctx, x.reshape(layout.view), statistics, isinstance(g, Tensor))
        return [*pull_back(ctx, g.reshape(layout.view), normal, scale, weight, ctx.params["training"]), None]

    def jvp(ctx, tangents, x, weight, statistics):
        normal, scale = _batch_normal(ctx, x.reshape(ctx.params["layout"].view), statistics, True)
        return push_forward(ctx, tangents, normal, scale, weight, ctx.params["training"])


def _batch_normal(ctx: Any, v: Any, statistics: Any, recompute: bool) -> tuple[Any, Any]:
    """The normalised input and its scale; made from ``v`` again where their dependence on it must be recorded."""
    layout, eps = ctx.params["layout"], ctx.params["eps"]
    if recompute and ctx.params["training"]:
        normal, _, scale = standardized(v, layout, eps)
        return normal, scale
    mean, scale = _from_statistics(getattr(statistics, "_data", statistics), layout, eps, v.dtype)
    if isinstance(v, Tensor):
        return scaled(v, constant(mean), constant(scale)), constant(scale)
    return scaled(v, mean, scale), scale


def _from_statistics(statistics: Array, layout: Layout, eps: float, dtype: Any) -> tuple[Array, Array]:
    mean, variance = statistics.astype(dtype, copy=False)
    return mean.reshape(layout.affine), (1.0 / np.sqrt(variance + dtype.type(eps))).reshape(layout.affine)


def _batch_norm_samples(rng: np.random.Generator) -> Any:
    def draw(*shape: int) -> Array:
        return rng.normal(size=shape)

    # float32, so that the collected statistics are not taken for inputs to differentiate
    collected = (draw(3).astype(np.float32), rng.uniform(0.5, 2, 3).astype(np.float32))
    yield Sample(draw(4, 3), None, None, draw(3), draw(3), training=True)
    yield Sample(draw(2, 3, 2, 2), None, None, draw(3), draw(3), training=True, eps=0.1)
    yield Sample(draw(3, 2, 4), None, None, training=True)
    yield Sample(draw(3, 2, 4), None, None, None, draw(2), training=True)
    yield Sample(draw(4, 3), *collected, draw(3), draw(3))
    yield Sample(draw(2, 3, 2), *collected, draw(3))
    yield Sample(draw(2, 3, 2), *collected)
    yield Sample(draw(0, 3), *collected, draw(3), draw(3))


@operation(BatchNorm, samples=_batch_norm_samples)
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Channels shifted to mean 0, scaled to variance 1, then by ``weight`` and ``bias``.

    In training the statistics are the batch's, and the running ones move towards them in place:
    ``running ← (1 − momentum) · running + momentum · batch`` (the variance over n − 1). Otherwise the running
    statistics are used as they are.

    Args:
        input: shape (N, C) or (N, C, ...), floating.
        running_mean: shape (C,), or None in training.
        running_var: shape (C,), or None in training.
        weight: shape (C,), or None.
        bias: shape (C,), or None.
        training: use the batch's statistics.
        momentum: the batch's share in the running statistics.
        eps: added to the variance.

    Raises:
        OperationError: one value a channel in training, no running statistics outside it, or wrong shapes.
    """
    x = floating("batch_norm", input)
    if x.ndim < 2:
        raise OperationError(f"batch_norm at {describe(mark())}: needs shape (N, C, ...), got {tuple(x.shape)}.")
    require_channels("batch_norm", x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    n, channels, rest = x.shape[0], x.shape[1], prod(x.shape[2:])
    layout = (
        Layout((n, channels), (0,), (1, channels))
        if x.ndim == 2
        else Layout((n, channels, rest), (0, 2), (1, channels, 1))
    )
    if training:
        statistics = _of_the_batch(x, layout, running_mean, running_var, momentum)
    else:
        statistics = _collected(x, running_mean, running_var)
    params = {"layout": layout, "eps": float(eps), "training": bool(training)}
    return apply(BatchNorm, (x, weight, bias, statistics), params)


def _of_the_batch(x: Any, layout: Layout, running_mean: Any, running_var: Any, momentum: float) -> Any:
    """The statistics of the batch; the running ones are moved towards them."""
    if layout.size < 2:
        raise OperationError(
            f"batch_norm at {describe(mark())}: training needs more than one value a channel, got shape "
            f"{tuple(x.shape)}. Use a larger batch, or eval mode."
        )
    statistics = apply(BatchStatistics, (x,), {"layout": layout})
    mean, variance = statistics if mode.tracer is not None else getattr(statistics, "_data", statistics)
    move(running_mean, mean, momentum)
    move(running_var, variance * (layout.size / (layout.size - 1)), momentum)
    return statistics


def _collected(x: Any, running_mean: Any, running_var: Any) -> Any:
    if running_mean is None or running_var is None:
        raise OperationError(
            f"batch_norm at {describe(mark())}: outside training running_mean and running_var are needed; "
            "pass them, or training=True."
        )
    if mode.tracer is not None and isinstance(running_mean, Tensor):
        return stack([running_mean, running_var]).to(x.dtype)
    both = np.stack([getattr(r, "_data", r) for r in (running_mean, running_var)]).astype(x.dtype, copy=False)
    return constant(both) if isinstance(x, Tensor) else both
