"""Sums, means, extremes and softmax."""

from __future__ import annotations

import math
from typing import Any

from ...ops.reduction import Mean, Sum, reduced_size
from ...ops.softmax import LogSoftmax, LogSumExp, Softmax
from ..ir.build import Builder
from ..ir.program import Value
from .table import lowering


@lowering(Sum, rules="traced")
def total(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """A sum."""
    return builder.reduce("sum", builder.cast(inputs[0], like.dtype), params["axis"], params["keepdims"])


@lowering(Mean, rules="traced")
def mean(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """A sum divided by the number of elements; NaN where there are none."""
    (x,) = inputs
    count = reduced_size(x.shape, params["axis"]) or math.nan
    return builder.elementwise("div", total(builder, inputs, params, op, like), float(count))


def lowered(builder: Builder, x: Value, axis: Any) -> Value:
    """``x`` minus its largest entry along an axis."""
    return builder.elementwise("sub", x, builder.reduce("max", x, axis, True))


@lowering(Softmax, rules="traced")
def softmax(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """Exponentials divided by their sum."""
    e = builder.elementwise("exp", lowered(builder, inputs[0], params["axis"]))
    return builder.elementwise("div", e, builder.reduce("sum", e, params["axis"], True))


@lowering(LogSoftmax, rules="traced")
def log_softmax(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """What is below the largest entry, minus the logarithm of the sum of exponentials."""
    z = lowered(builder, inputs[0], params["axis"])
    sums = builder.reduce("sum", builder.elementwise("exp", z), params["axis"], True)
    return builder.elementwise("sub", z, builder.elementwise("log", sums))


@lowering(LogSumExp, rules="traced")
def logsumexp(builder: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value:
    """The logarithm of the sum of exponentials; an infinite largest entry is not taken out."""
    (x,) = inputs
    top = builder.reduce("max", x, params["axis"], True)
    finite = builder.elementwise("lt", builder.elementwise("abs", top), math.inf)
    top = builder.elementwise("where", finite, top, 0.0)
    e = builder.elementwise("exp", builder.elementwise("sub", x, top))
    sums = builder.reduce("sum", e, params["axis"], True)
    return builder.reshape(builder.elementwise("add", builder.elementwise("log", sums), top), like.shape)
