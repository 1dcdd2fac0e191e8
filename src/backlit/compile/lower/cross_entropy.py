"""Cross-entropy with class indices: softmax, logarithm and choice of the right class over one space, both ways.

The right class is where a position along the class axis equals the label. A label outside the classes fails an
assumption of the program, and the function runs eagerly, which raises.
"""

from __future__ import annotations

from typing import Any

from ...ops.cross_entropy import CrossEntropy, NLLLoss
from ..ir.build import Builder
from ..ir.program import Value
from .reductions import lowered
from .table import lowering, pulls


class _Rows:
    """The parts that the loss and its gradient share; written twice, they are computed once."""

    def __init__(self, b: Builder, inputs: list[Any], params: dict[str, Any]) -> None:
        self.b = b
        x, target, *weight = inputs
        self.x = x
        self.weight = weight[0] if weight else None
        self.reduction, ignored, self.smoothing = (*params.values(), 0.0)[:3]
        self.axis = 1 if x.ndim > 1 else 0
        self.classes = x.shape[self.axis]
        kept = tuple(1 if i == self.axis else n for i, n in enumerate(x.shape))
        label = b.reshape(target, kept)
        self.valid = b.elementwise("ne", label, ignored)
        self._require_range(label)
        self.hit = b.elementwise("eq", self.over_classes(b.iota(self.classes)), label)

    def _require_range(self, label: Value) -> None:
        b = self.b
        low, high = b.elementwise("lt", label, 0), b.elementwise("ge", label, self.classes)
        wrong = b.elementwise("and", self.valid, b.elementwise("or", low, high))
        b.require(b.reduce("sum", b.cast(wrong, self.x.dtype)))

    def over_classes(self, vector: Value) -> Value:
        """One number for each class, in the place of the class axis."""
        shape = tuple(self.classes if i == self.axis else 1 for i in range(self.x.ndim))
        return self.b.reshape(vector, shape)

    def sum(self, x: Value) -> Value:
        """The sum over the classes."""
        return self.b.reduce("sum", x, self.axis, True)

    def only_valid(self, x: Any) -> Value:
        """``x``, and 0 at labels that are to be ignored."""
        return self.b.elementwise("where", self.valid, x, 0.0)

    def share(self) -> Value:
        """The weight of each label's class, 0 where it is ignored."""
        if self.weight is None:
            return self.b.cast(self.valid, self.x.dtype)
        weights = self.over_classes(self.b.cast(self.weight, self.x.dtype))
        return self.only_valid(self.sum(self.b.elementwise("where", self.hit, weights, 0.0)))

    def asked(self) -> Value:
        """The weight that each position gives to each class's −ln p."""
        b = self.b
        right = b.elementwise("mul", self.share(), 1.0 - self.smoothing)
        q = b.elementwise("where", self.hit, right, 0.0)
        if not self.smoothing:
            return q
        each = b.constant(self.smoothing / self.classes, self.x.dtype)
        if self.weight is not None:
            each = b.elementwise("mul", self.over_classes(b.cast(self.weight, self.x.dtype)), each)
        return b.elementwise("add", q, self.only_valid(each))

    def total(self) -> Value:
        """What a mean is divided by."""
        return self.b.reduce("sum", self.share())


@lowering(CrossEntropy)
def cross_entropy(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The loss."""
    if inputs[0].size == 0:
        return None
    rows = _Rows(b, inputs, params)
    z = lowered(b, rows.x, rows.axis)
    log_s = b.elementwise("log", rows.sum(b.elementwise("exp", z)))
    if rows.smoothing:
        parts = b.elementwise("mul", rows.asked(), b.elementwise("sub", log_s, z))
        losses = rows.only_valid(rows.sum(parts))
    else:
        right = rows.sum(b.elementwise("where", rows.hit, z, 0.0))
        losses = b.elementwise("sub", log_s, right)
        if rows.weight is not None:
            losses = b.elementwise("mul", losses, rows.share())
        losses = rows.only_valid(losses)
    if rows.reduction == "none":
        return b.reshape(losses, like.shape)
    loss = b.reduce("sum", losses)
    return loss if rows.reduction == "sum" else b.elementwise("div", loss, rows.total())


@pulls(CrossEntropy)
def cross_entropy_pull(b: Builder, pull: Any) -> list[Value | None]:
    """``p Σq − q`` for each position, where q is what it asks for, times its upstream gradient."""
    rows = _Rows(b, pull.inputs, pull.params)
    e = b.elementwise("exp", lowered(b, rows.x, rows.axis))
    p = b.elementwise("div", e, rows.sum(e))
    g = pull.g
    if rows.reduction == "mean":
        g = b.elementwise("div", g, rows.total())
    elif rows.reduction == "none":
        g = b.reshape(g, tuple(1 if i == rows.axis else n for i, n in enumerate(rows.x.shape)))
    q = rows.asked()
    together = rows.sum(q) if rows.smoothing else rows.share()
    slope = b.elementwise("sub", b.elementwise("mul", p, together), q)
    return [b.elementwise("mul", slope, g), *[None] * (len(pull.needs) - 1)]


@lowering(NLLLoss)
def nll_loss(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The loss from logarithms of probabilities."""
    if inputs[0].size == 0:
        return None
    rows = _Rows(b, inputs, params)
    right = rows.sum(b.elementwise("where", rows.hit, rows.x, 0.0))
    losses = rows.only_valid(b.elementwise("neg", b.elementwise("mul", right, rows.share())))
    if rows.reduction == "none":
        return b.reshape(losses, like.shape)
    loss = b.reduce("sum", losses)
    return loss if rows.reduction == "sum" else b.elementwise("div", loss, rows.total())


@pulls(NLLLoss)
def nll_loss_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """Minus the right class's weight, nothing to the rest."""
    if pull.inputs[0].size == 0:
        return None
    rows = _Rows(b, pull.inputs, pull.params)
    g, q = pull.g, rows.asked()
    if rows.reduction == "mean":
        g = b.elementwise("div", g, rows.total())
    elif rows.reduction == "none":
        g = b.reshape(g, tuple(1 if i == rows.axis else n for i, n in enumerate(rows.x.shape)))
    slope = b.elementwise("neg", b.elementwise("mul", q, g))
    made = b.elementwise("where", b.elementwise("eq", q, 0.0), 0.0, slope)
    return [made, *[None] * (len(pull.needs) - 1)]
