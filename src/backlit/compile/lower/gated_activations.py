"""Activations that gate one half of a dimension by the other."""

from __future__ import annotations

from typing import Any

from ...ops.gated_activations import GLU
from ..ir.build import Builder
from ..ir.program import Value
from .shape import sliced
from .table import lowering


@lowering(GLU, rules="traced")
def glu(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The first half times the sigmoid of the second."""
    (x,), axis = inputs, params["axis"] % max(inputs[0].ndim, 1)
    half = x.shape[axis] // 2
    lead = (slice(None),) * axis
    a, gate = (sliced(b, x, (*lead, slice(start, start + half), ...)) for start in (0, half))
    falls = b.elementwise("exp", b.elementwise("neg", b.elementwise("abs", gate)))
    upper = b.elementwise("where", b.elementwise("ge", gate, 0.0), 1.0, falls)
    return b.elementwise("mul", a, b.elementwise("div", upper, b.elementwise("add", falls, 1.0)))
