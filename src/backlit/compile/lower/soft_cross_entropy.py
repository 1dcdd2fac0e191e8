"""Cross-entropy with a distribution over the classes for each position."""

from __future__ import annotations

from typing import Any

from ...ops.labels import class_axis
from ...ops.soft_cross_entropy import SoftCrossEntropy
from ..ir.build import Builder
from ..ir.program import Value
from .reductions import lowered
from .table import lowering, pulls


class _Rows:
    """The parts that the loss and its gradients share; written twice, they are computed once."""

    def __init__(self, b: Builder, inputs: list[Any], params: dict[str, Any]) -> None:
        self.b = b
        self.x, self.target, *weight = inputs
        self.reduction, self.smoothing = params["reduction"], params["smoothing"]
        self.axis = class_axis(self.x)
        self.classes = self.x.shape[self.axis]
        self.weight = b.reshape(weight[0], (-1, *[1] * (self.x.ndim - 2))) if weight else None
        z = lowered(b, self.x, self.axis)
        self.logs = b.elementwise("sub", z, b.elementwise("log", self.sum(b.elementwise("exp", z))))

    def sum(self, x: Value) -> Value:
        """The sum over the classes."""
        return self.b.reduce("sum", x, self.axis, True)

    def weighted(self, x: Value) -> Value:
        """Times the weights of the classes."""
        return x if self.weight is None else self.b.elementwise("mul", x, self.weight)

    def asked(self) -> Value:
        """The target, mixed with the uniform distribution, times the weights of the classes."""
        b, q = self.b, self.target
        if self.smoothing:
            rest = b.elementwise("mul", q, 1.0 - self.smoothing)
            q = b.elementwise("add", rest, self.smoothing / self.classes)
        return self.weighted(q)

    @property
    def count(self) -> float:
        """How many distributions there are."""
        return float(self.x.size // self.classes)


@lowering(SoftCrossEntropy)
def soft_cross_entropy(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The loss."""
    if not inputs[0].size:
        return None
    rows = _Rows(b, inputs, params)
    losses = b.elementwise("neg", rows.sum(b.elementwise("mul", rows.logs, rows.asked())))
    if rows.reduction == "none":
        return b.reshape(losses, like.shape)
    loss = b.reduce("sum", losses)
    return loss if rows.reduction == "sum" else b.elementwise("div", loss, rows.count)


@pulls(SoftCrossEntropy)
def soft_cross_entropy_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """``softmax(x) Σq − q`` to the scores, where q is what is asked for; minus the logarithms to the target."""
    if not pull.inputs[0].size:
        return None
    rows, g = _Rows(b, pull.inputs, pull.params), pull.g
    if rows.reduction == "mean":
        g = b.elementwise("div", g, rows.count)
    elif rows.reduction == "none":
        g = b.reshape(g, tuple(1 if i == rows.axis else n for i, n in enumerate(rows.x.shape)))
    made: list[Value | None] = [None] * len(pull.needs)
    if pull.needs[0]:
        q = rows.asked()
        predicted = b.elementwise("mul", b.elementwise("exp", rows.logs), rows.sum(q))
        made[0] = b.elementwise("mul", g, b.elementwise("sub", predicted, q))
    if pull.needs[1]:
        slope = rows.weighted(b.elementwise("mul", rows.logs, rows.smoothing - 1.0))
        made[1] = b.elementwise("mul", g, slope)
    return made
