"""Running sums, products and logarithms of sums, and the linear recurrence that gradients of products are made of."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...ops.scan import CumProd, CumSum, LogCumSumExp
from ..codegen.scan import Scan
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.leaf import emit_leaf
from ..leaves.scan import RunningFold
from .joining import joined
from .shape import along, replaced
from .table import lowering, pulls

Params = dict[str, Any]

_FOLDS: dict[str, Any] = {"sum": np.add, "prod": np.multiply, "logaddexp": np.logaddexp}


def running(b: Builder, x: Value, kind: str, axis: int, reverse: bool = False) -> Value:
    """A fold along an axis with all that lies between."""
    axis %= x.ndim
    lines = (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
    direction = slice(None, None, -1 if reverse else 1)

    def meaning(x: Any) -> tuple[Any]:
        return (_FOLDS[kind].accumulate(x[:, direction], axis=1)[:, direction],)

    assert x.dtype is not None
    leaf = RunningFold(Scan(kind, *lines, reverse, x.dtype.name))
    made = emit_leaf(b, leaf, [b.reshape(x, lines)], [(lines, x.dtype)], meaning)[0]
    return b.reshape(made, x.shape)


def _folds(kind: str) -> Any:
    def fold(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
        """A fold of numbers."""
        (x,) = inputs
        if not x.size or x.dtype.name not in ("float32", "float64", "int64"):
            return None
        return running(b, x, kind, params["axis"], params.get("reverse", False))

    return fold


lowering(CumSum, rules="traced")(_folds("sum"))
lowering(CumProd)(_folds("prod"))
lowering(LogCumSumExp, rules="traced")(_folds("logaddexp"))


@pulls(CumProd)
def running_product_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """As the rule: by division where the products are free of zeros and infinities, else by a recurrence."""
    (x,), axis, g, out = pull.inputs, pull.params["axis"], pull.g, pull.out
    if not x.size or x.dtype != out.dtype:
        return None
    axis, size = axis % x.ndim, x.shape[axis]
    unsafe = b.elementwise(
        "or", b.elementwise("eq", out, 0.0), b.elementwise("ne", b.elementwise("sub", out, out), 0.0)
    )
    exact = b.elementwise("eq", b.reduce("sum", b.cast(unsafe, x.dtype)), 0.0)
    divided = b.elementwise("div", running(b, b.elementwise("mul", g, out), "sum", axis, True), x)
    ones = b.expand(b.constant(1, x.dtype), replaced(x.shape, axis, 1))
    before = joined(b, [ones, along(b, out, axis, 0, 1, size - 1)], axis)
    following = recurrence_back(b, along(b, x, axis, 1, 1, size - 1), g, axis)
    return [b.elementwise("where", exact, divided, b.elementwise("mul", following, before))]


def recurrence_back(b: Builder, factors: Value, terms: Value, axis: int) -> Value:
    """``sₖ = termsₖ + factorₖ · sₖ₊₁`` along an axis, in steps that are doubled, as in eager mode."""
    size, step = terms.shape[axis], 1
    while step < size:
        left = size - step
        after = b.elementwise("mul", factors, along(b, terms, axis, step, 1, left))
        grown = b.elementwise("add", along(b, terms, axis, 0, 1, left), after)
        terms = joined(b, [grown, along(b, terms, axis, left, 1, step)], axis)
        if left > step:
            rest = left - step
            factors = b.elementwise("mul", along(b, factors, axis, step, 1, rest), along(b, factors, axis, 0, 1, rest))
        step *= 2
    return terms
