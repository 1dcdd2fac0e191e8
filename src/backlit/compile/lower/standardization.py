"""Normalisation of any groups of values, by their own statistics or by collected ones, as loops.

Rows with weights for each column have a kernel (:mod:`.normalization`); batch and group normalisation are written here.
"""

from __future__ import annotations

from typing import Any

from ...ops.batch_normalization import BatchNorm, BatchStatistics
from ...ops.standardize import Layout
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined
from .table import lowering, pulls

Params = dict[str, Any]


def mean(b: Builder, x: Value, axes: tuple[int, ...], size: int) -> Value:
    """The mean of each group, dimensions kept."""
    return b.elementwise("div", b.reduce("sum", x, axes, True), float(size))


def moments(b: Builder, v: Value, layout: Layout) -> tuple[Value | None, Value]:
    """The mean of each group (None where it is not taken out), and the mean square of what is left."""
    middle = mean(b, v, layout.axes, layout.size) if layout.centred else None
    centred = v if middle is None else b.elementwise("sub", v, middle)
    return middle, mean(b, b.elementwise("mul", centred, centred), layout.axes, layout.size)


def inverse_root(b: Builder, variance: Value, eps: float) -> Value:
    """1/√(σ² + ε)."""
    return b.elementwise("div", 1.0, b.elementwise("sqrt", b.elementwise("add", variance, eps)))


def normal(b: Builder, v: Value, middle: Value | None, scale: Value) -> Value:
    """x̂."""
    return b.elementwise("mul", v if middle is None else b.elementwise("sub", v, middle), scale)


def affine(b: Builder, y: Value, weight: Value | None, bias: Value | None, layout: Layout) -> Value:
    """Times the weight, plus the bias."""
    if weight is not None:
        y = b.elementwise("mul", y, b.reshape(weight, layout.affine))
    return y if bias is None else b.elementwise("add", y, b.reshape(bias, layout.affine))


def gradients(b: Builder, pull: Any, layout: Layout, middle: Any, scale: Value, projected: bool) -> list[Value | None]:
    """Those of x, weight and bias; ``projected`` where the statistics depend on x."""
    x, weight, bias = [*pull.inputs[:3], None, None][:3]
    v, g = b.reshape(x, layout.view), b.reshape(pull.g, layout.view)
    hat = normal(b, v, middle, scale)
    h = g if weight is None else b.elementwise("mul", g, b.reshape(weight, layout.affine))
    if projected:
        along = mean(b, b.elementwise("mul", h, hat), layout.axes, layout.size)
        rest = b.elementwise("sub", h, b.elementwise("mul", hat, along))
        h = b.elementwise("sub", rest, mean(b, h, layout.axes, layout.size)) if layout.centred else rest
    parts: list[Value | None] = [b.reshape(b.elementwise("mul", h, scale), x.shape)]
    for given, part in ((weight, b.elementwise("mul", g, hat)), (bias, g)):
        parts.append(None if given is None else b.reshape(b.reduce("sum", part, layout.shared, True), given.shape))
    wanted = [*pull.needs[:3], False, False][:3]
    made = [part if need else None for part, need in zip(parts, wanted, strict=True)]
    return [*made, None][: len(pull.needs)]


@lowering(BatchStatistics)
def batch_statistics(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Mean and variance of each channel."""
    (x,) = inputs
    if not x.size:
        return None
    middle, variance = moments(b, b.reshape(x, params["layout"].view), params["layout"])
    assert middle is not None
    return joined(b, [b.reshape(part, (1, like.shape[1])) for part in (middle, variance)], 0)


def _collected(b: Builder, x: Value, statistics: Value, params: Params) -> tuple[Value, Value]:
    """The means, and the scales made of the variances."""
    layout, count = params["layout"], statistics.shape[1]
    rows = [b.slice(statistics, (i, 0), (1, 1), (1, count)) for i in (0, 1)]
    middle, variance = (b.reshape(b.cast(row, x.dtype), layout.affine) for row in rows)
    return middle, inverse_root(b, variance, params["eps"])


@lowering(BatchNorm)
def batch_norm(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Channels shifted and scaled."""
    x, weight, bias, statistics = inputs
    if not x.size:
        return None
    middle, scale = _collected(b, x, statistics, params)
    y = normal(b, b.reshape(x, params["layout"].view), middle, scale)
    return b.reshape(affine(b, y, weight, bias, params["layout"]), x.shape)


@pulls(BatchNorm)
def batch_norm_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """All gradients; in training the statistics depend on x."""
    x, *_, statistics = pull.inputs
    if not x.size:
        return None
    middle, scale = _collected(b, x, statistics, pull.params)
    return gradients(b, pull, pull.params["layout"], middle, scale, pull.params["training"])
