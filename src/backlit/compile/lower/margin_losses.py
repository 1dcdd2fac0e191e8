"""Losses that ask for a margin, where they are more than an expression of each entry."""

from __future__ import annotations

import math
from typing import Any

from ...ops.margin_losses import HingeEmbedding, MultiMargin
from ..ir.build import Builder
from ..ir.program import Value
from .elementwise import reduced, share
from .table import lowering, pulls

Params = dict[str, Any]


@pulls(HingeEmbedding)
def hinge_embedding_pull(b: Builder, pull: Any) -> list[Value | None]:
    """As the rule: passes to near pairs, with the other sign to far ones inside the margin, nothing to the target."""
    x, target = pull.inputs
    g = share(b, pull)
    near = b.elementwise("ne", target, -1)
    far = b.elementwise("and", b.elementwise("ne", target, 1), b.elementwise("le", x, pull.params["margin"]))
    parts = (b.elementwise("where", *choice, 0.0) for choice in ((near, g), (far, b.elementwise("neg", g))))
    zeros = b.expand(b.constant(0, pull.g.dtype), target.shape) if pull.needs[1] else None
    return [b.elementwise("add", *parts) if pull.needs[0] else None, zeros]


class _Gaps:
    """How much each class's score lacks to being beaten by the right one's by the margin."""

    def __init__(self, b: Builder, inputs: list[Any], params: Params) -> None:
        x, target, *weight = inputs
        self.b, self.classes = b, x.shape[-1]
        label = b.reshape(target, (*x.shape[:-1], 1))
        wrong = b.elementwise("or", b.elementwise("lt", label, 0), b.elementwise("ge", label, self.classes))
        b.require(b.reduce("sum", b.cast(wrong, x.dtype)))
        self.hit = b.elementwise("eq", b.cast(b.iota(self.classes), label.dtype), label)
        self.values = b.elementwise("add", b.elementwise("sub", x, self._of_label(x)), params["margin"])
        self.share = self._of_label(b.cast(weight[0], x.dtype)) if weight else None
        self.squared = params["p"] == 2

    def _of_label(self, x: Value) -> Value:
        return self.b.reduce("sum", self.b.elementwise("where", self.hit, x, 0.0), -1, True)

    def elsewhere(self, x: Value) -> Value:
        """``x``, but 0 at the right class."""
        return self.b.elementwise("where", self.hit, 0.0, x)


@lowering(MultiMargin)
def multi_margin(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The loss."""
    if not inputs[0].size:
        return None
    gaps = _Gaps(b, inputs, params)
    short = gaps.elsewhere(b.elementwise("maximum", gaps.values, 0.0))
    if gaps.squared:
        short = b.elementwise("mul", short, short)
    losses = b.elementwise("div", b.reduce("sum", short, -1, True), float(gaps.classes))
    if gaps.share is not None:
        losses = b.elementwise("mul", losses, gaps.share)
    return reduced(b, b.reshape(losses, inputs[1].shape), params["reduction"])


@pulls(MultiMargin)
def multi_margin_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """To each class inside the margin its slope, to the right class minus their sum."""
    x, target, *_ = pull.inputs
    if not x.size:
        return None
    gaps, g = _Gaps(b, pull.inputs, pull.params), pull.g
    factor: Any = 1.0 / gaps.classes
    if gaps.share is not None:
        factor = b.elementwise("div", gaps.share, float(gaps.classes))
    still = b.elementwise("mul", gaps.values, 0.0)  # NaN stays
    inside = gaps.elsewhere(b.elementwise("where", b.elementwise("gt", gaps.values, 0.0), factor, still))
    if gaps.squared:
        inside = b.elementwise("mul", inside, b.elementwise("mul", gaps.values, 2.0))
    back = b.elementwise("neg", b.reduce("sum", inside, -1, True))
    slope = b.elementwise("where", gaps.hit, back, inside)
    if pull.params["reduction"] == "none":
        g = b.reshape(g, (*x.shape[:-1], 1))
    elif pull.params["reduction"] == "mean":
        g = b.elementwise("div", g, float(target.size or math.nan))
    return [b.elementwise("mul", g, slope), *[None] * (len(pull.needs) - 1)]
