"""Scaled dot-product attention: by the kernel for heads, or as products and loops where weights are dropped, a mask
needs a gradient, or values are not as wide as keys.

Dropout of the weights is drawn as any other (:mod:`.dropout`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ...ops.attention import Attention
from ..codegen import attention as kernel
from ..ir.build import Builder
from ..ir.layout import row_major
from ..ir.program import Value
from ..leaves.attention import Attend, AttendBack
from ..leaves.leaf import emit_leaf
from .dropout import drawn, masked
from .joining import padded
from .shape import unbroadcast
from .table import drawing, lowering, pulls

Array = np.ndarray


class _Heads:
    """Operands of the kernel, (batch, heads, rows, columns) each, and its description."""

    def __init__(self, b: Builder, inputs: list[Any], params: dict[str, Any], lead: tuple[int, ...]) -> None:
        query, key, _, *mask = inputs
        self.lead = lead
        self.sizes = _batch_and_heads(lead)
        self.operands = [self._stretched(b, x) for x in inputs[:3]]
        length, context, width = query.shape[-2], key.shape[-2], query.shape[-1]
        long, short = (_dense(rows, width, self.sizes[1]) for rows in (length, context))
        self.spec = kernel.Attention(
            *self.sizes, length, context, width, long, short, short, long, params["scale"], params["causal"],
            query.dtype.name,
        )  # fmt: skip
        if mask:
            self._add_mask(b, mask[0])

    def _stretched(self, b: Builder, x: Value) -> Value:
        return b.reshape(b.expand(x, (*self.lead, *x.shape[-2:])), (*self.sizes, *x.shape[-2:]))

    def _add_mask(self, b: Builder, mask: Value) -> None:
        """Rows as long as those of the probabilities, in the dtype of the scores; once for heads that share them."""
        rows = mask.shape[-2] if mask.ndim > 1 else 1
        own = ((1,) * len(self.lead) + mask.shape[:-2])[max(mask.ndim - 2, 0) :]
        batch = own[:-1] if set(own[:-1]) <= {1} else self.lead[:-1]
        own = (*batch, *own[-1:])
        sizes = (prod(own[:-1]), prod(own[-1:])) if prod(self.lead[:-1]) > 1 else (prod(own), 1)
        context, columns = self.spec.context, kernel.probability_columns(self.spec)
        full = b.reshape(b.expand(b.cast(mask, self.spec.dtype), (*own, rows, context)), (*sizes, rows, context))
        full = padded(b, full, [(0, 0)] * 3 + [(0, columns - context)])
        steps = [0 if n == 1 else step for n, step in zip(full.shape[:3], row_major(full.shape)[:3], strict=True)]
        self.operands.append(full)
        self.spec = replace(self.spec, mask=kernel.Heads(*steps), added=mask.kind == "f")


def _batch_and_heads(lead: tuple[int, ...]) -> tuple[int, int]:
    """All leading dimensions as two: what a thread can take a share of comes first."""
    batch, heads = prod(lead[:-1]), prod(lead[-1:])
    return (heads, 1) if batch == 1 else (batch, heads)


def _dense(rows: int, width: int, heads: int) -> kernel.Heads:
    return kernel.Heads(heads * rows * width, rows * width, width)


def _heads(b: Builder, inputs: list[Any], params: dict[str, Any]) -> _Heads | None:
    """What the kernel takes; None where values are not as wide as keys, which it does not do."""
    query, key, value = inputs[:3]
    if value.shape[-1] != query.shape[-1]:
        return None
    return _Heads(b, inputs, params, np.broadcast_shapes(*[x.shape[:-2] for x in (query, key, value)]))


def _probabilities(query: Array, key: Array, mask: Array | None, spec: kernel.Attention) -> Array:
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * spec.scale
    if spec.causal:
        scores = np.where(np.arange(spec.context) <= np.arange(spec.length)[:, None], scores, -np.inf)
    elif mask is not None:
        mask = mask[..., : spec.context]
        scores = scores + mask if spec.added else np.where(mask != 0, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(top), 0.0, top).astype(top.dtype))
    return np.asarray(e / np.maximum(e.sum(axis=-1, keepdims=True), 1.0))


def _forward(b: Builder, heads: _Heads) -> tuple[Value, ...]:
    spec, query = heads.spec, heads.operands[0]
    columns = kernel.probability_columns(spec)

    def meaning(q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, Array]:
        weights = _probabilities(q, k, mask, spec)
        kept = np.zeros((*weights.shape[:-1], columns), weights.dtype)
        kept[..., : spec.context] = weights
        return np.matmul(weights, v), kept

    shapes = [(query.shape, query.dtype), ((*query.shape[:-1], columns), query.dtype)]
    return emit_leaf(b, Attend(spec), heads.operands, shapes, meaning)


@lowering(Attention)
def attention(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The weighted averages."""
    if params["dropout_p"] or not (like.size and inputs[1].size):
        return None
    heads = _heads(b, inputs, params)
    if heads is None:
        return b.matmul(_weights(b, inputs, params), inputs[2])
    return b.reshape(_forward(b, heads)[0], like.shape)


@drawing(Attention)
def thinned_attention(b: Builder, inputs: list[Any], params: dict[str, Any], streams: Any) -> tuple[Value, Value]:
    """The averages with weights of which some are dropped."""
    weights = _weights(b, inputs, params)
    kept = drawn(b, streams, params["generator"], params["dropout_p"], weights.shape)
    return b.matmul(masked(b, weights, kept, params["dropout_p"]), inputs[2]), kept


def _weights(b: Builder, inputs: list[Any], params: dict[str, Any]) -> Value:
    """The softmax of the scores that the mask leaves; rows without any are zeros."""
    query, key, _, *mask = inputs
    scores = b.matmul(b.elementwise("mul", query, params["scale"]), _turned(b, key))
    length, context = scores.shape[-2:]
    if params["causal"]:
        seen = b.elementwise("le", b.iota(context), b.reshape(b.iota(length), (length, 1)))
        scores = b.elementwise("where", seen, scores, -math.inf)
    elif mask and mask[0].kind == "b":
        scores = b.elementwise("where", mask[0], scores, -math.inf)
    elif mask:
        scores = b.elementwise("add", scores, mask[0])
    top = b.reduce("max", scores, -1, True)
    top = b.elementwise("where", b.elementwise("eq", top, -math.inf), 0.0, top)
    e = b.elementwise("exp", b.elementwise("sub", scores, top))
    return b.elementwise("div", e, b.elementwise("maximum", b.reduce("sum", e, -1, True), 1.0))


def _turned(b: Builder, x: Value) -> Value:
    """Rows and columns exchanged."""
    return b.permute(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _composed_pull(b: Builder, pull: Any, weights: Value) -> list[Value | None]:
    """The gradients of query, key, value and an additive mask."""
    query, key, value = pull.inputs[:3]
    scale = pull.params["scale"]
    used, dp = weights, b.matmul(pull.g, _turned(b, value))
    if pull.kept is not None:
        used, dp = (masked(b, x, pull.kept, pull.params["dropout_p"]) for x in (weights, dp))
    middle = b.reduce("sum", b.elementwise("mul", weights, dp), -1, True)
    ds = b.elementwise("mul", weights, b.elementwise("sub", dp, middle))
    parts = (
        lambda: b.elementwise("mul", b.matmul(ds, key), scale),
        lambda: b.elementwise("mul", b.matmul(_turned(b, ds), query), scale),
        lambda: b.matmul(_turned(b, used), pull.g),
        lambda: ds,
    )
    given = zip(parts, pull.needs, pull.inputs, strict=False)
    return [unbroadcast(b, part(), x.shape) if need else None for part, need, x in given]


@pulls(Attention)
def attention_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """The gradients from the probabilities of the forward pass."""
    thinned = bool(pull.params["dropout_p"])
    if thinned != (pull.kept is not None) or not (pull.g.size and pull.inputs[1].size):
        return None
    heads = None if thinned else _heads(b, pull.inputs, pull.params)
    if heads is None:
        return _composed_pull(b, pull, _weights(b, pull.inputs, pull.params))
    spec, (query, key, value, *_) = heads.spec, heads.operands
    _, kept = _forward(b, heads)
    if any(pull.needs[3:]):
        shown = b.slice(kept, (0,) * 4, (1,) * 4, (*kept.shape[:3], spec.context))
        return _composed_pull(b, pull, b.reshape(shown, (*heads.lead, spec.length, spec.context)))

    def meaning(q: Array, k: Array, v: Array, kept: Array, g: Array) -> tuple[Array, Array, Array]:
        weights = kept[..., : spec.context]
        dp = np.matmul(g, np.swapaxes(v, -1, -2))
        ds = weights * (dp - (dp * weights).sum(axis=-1, keepdims=True)) * spec.scale
        turned = np.swapaxes(ds, -1, -2)
        return np.matmul(ds, k), np.matmul(turned, q), np.matmul(np.swapaxes(weights, -1, -2), g)

    shapes = [(v.shape, v.dtype) for v in (query, key, value)]
    g, leaf = b.reshape(pull.g, query.shape), AttendBack(replace(spec, mask=None, added=False))
    parts = emit_leaf(b, leaf, [query, key, value, kept, g], shapes, meaning)
    given = zip(parts, pull.needs, pull.inputs, strict=False)
    made = [
        unbroadcast(b, b.reshape(p, (*heads.lead, *p.shape[2:])), x.shape) if need else None for p, need, x in given
    ]
    return [*made, *[None] * (len(pull.needs) - 3)]
