"""Elementwise operations, pointwise losses, comparisons and conversions: scalar expressions, written down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...numerics import quiet
from ...ops.cast import Cast
from ...ops.elementwise import Elementwise, pull_rule
from ...ops.losses import L1Loss
from ...ops.pointwise import Pointwise
from ...ops.registry import REGISTRY
from ...ops.special import NanToNum
from ..ir.build import Builder
from ..ir.program import Value
from ..trace.scalars import write_expression
from .shape import unbroadcast
from .table import lowering, pulls

Inputs = list[Any]
Params = dict[str, Any]


@lowering(Elementwise, rules="traced")
def elementwise(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value | None:
    """``op.value``, with instructions for functions; None where one is asked for that does not exist."""
    try:
        return write_expression(builder, op.value, inputs, params)
    except NotImplementedError:
        return None


@pulls(Elementwise)
def elementwise_pull(builder: Builder, pull: Any) -> list[Value | None] | None:
    """The upstream gradient by the slope of each input, as its declaration states it."""
    op = pull.node.op
    made: list[Value | None] = []
    try:
        for name, x, needed in zip(op.inputs, pull.inputs, pull.needs, strict=True):
            made.append(_slope(builder, pull, op, name, x.shape) if needed else None)
    except NotImplementedError:
        return None
    return made


def _slope(builder: Builder, pull: Any, op: Any, name: str, shape: tuple[int, ...]) -> Value:
    """The gradient by one input, of a shape that may have been stretched."""
    found = pull_rule(op, name)
    assert found is not None, name  # an input without a rule cannot require gradients
    rule, names = found
    values = [pull.out if other == "out" else pull.inputs[op.inputs.index(other)] for other in names]
    return unbroadcast(builder, write_expression(builder, rule, [pull.g, *values], pull.params), shape)


@lowering(NanToNum, rules="traced")
def nan_to_num(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value:
    """Numbers in the place of NaN and infinities."""
    (x,) = inputs
    if x.kind != "f":
        return x  # type: ignore[no-any-return]
    nan, above, below = params["nan"], params["posinf"], params["neginf"]
    largest = np.finfo(x.dtype).max
    made = builder.elementwise("where", builder.elementwise("ne", x, x), _number(builder, nan, x), x)
    for infinity, given, default in ((math.inf, above, largest), (-math.inf, below, -largest)):
        number = _number(builder, default if given is None else given, x)
        made = builder.elementwise("where", builder.elementwise("eq", x, infinity), number, made)
    return made


def _number(builder: Builder, number: float, like: Value) -> Value:
    """A number in the dtype of a value; one that is too large for it is infinite."""
    with quiet():
        return builder.constant(number, like.dtype)


@lowering(Pointwise, rules="traced")
def pointwise(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value:
    """``op.value`` reduced as the loss asks."""
    settings = dict(params)
    reduction = settings.pop("reduction")
    return reduced(builder, write_expression(builder, op.value, inputs, settings), reduction)


def reduced(builder: Builder, values: Value, reduction: str) -> Value:
    """Entries, their sum, or their mean (NaN where there are none)."""
    if reduction == "none":
        return values
    total = builder.reduce("sum", values)
    return total if reduction == "sum" else builder.elementwise("div", total, float(values.size or math.nan))


def share(builder: Builder, pull: Any) -> Value:
    """What each entry of a pointwise loss receives of the upstream gradient."""
    if pull.params["reduction"] != "mean":
        return pull.g  # type: ignore[no-any-return]
    return builder.elementwise("mul", pull.g, 1.0 / (pull.inputs[0].size or math.nan))


@pulls(L1Loss)
def l1_loss_pull(builder: Builder, pull: Any) -> list[Value | None]:
    """The sign of the difference, shared out: as the rule, but from the inputs and not from a stored sign."""
    x, target = pull.inputs
    g = share(builder, pull)
    sign = builder.elementwise("sign", builder.elementwise("sub", x, target))
    part = builder.elementwise("gated", g, sign)
    other = builder.elementwise("neg", part) if pull.needs[1] else None
    return [part if pull.needs[0] else None, other]


@lowering(Cast, rules="traced")
def cast(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value:
    """A conversion."""
    return builder.cast(inputs[0], like.dtype)


_SYMBOLS = {
    **{name: name for name in ("eq", "ne", "lt", "le", "gt", "ge", "isnan")},
    "logical_and": "and",
    "logical_or": "or",
    "logical_xor": "xor",
    "logical_not": "not",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "bitwise_not": "not",
}


def _comparison(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value | None:
    """A comparison or a logical function; logic on numbers that are not booleans is left to NumPy."""
    if op.name.startswith("logical") and any(x.kind != "b" for x in inputs):
        return None
    return builder.elementwise(_SYMBOLS[op.name], *inputs)


for _name in _SYMBOLS:
    _definition = REGISTRY[_name].definition
    assert _definition is not None, _name
    lowering(_definition)(_comparison)


def _size_test(symbol: str) -> Any:
    def test(builder: Builder, inputs: Inputs, params: Params, op: Any, like: Value) -> Value | None:
        """A comparison of the size with infinity."""
        (x,) = inputs
        return builder.elementwise(symbol, builder.elementwise("abs", x), math.inf) if x.kind == "f" else None

    return test


for _name, _symbol in {"isinf": "eq", "isfinite": "lt"}.items():
    _definition = REGISTRY[_name].definition
    assert _definition is not None, _name
    lowering(_definition)(_size_test(_symbol))
