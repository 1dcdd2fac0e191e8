"""Scaled dot-product attention: by the kernel for heads where there is no mask of its own, else as products and loops.

Dropout of the weights is drawn as any other (:mod:`.dropout`).
"""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from ...ops.attention import Attention
from ..codegen import attention as kernel
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.attention import Attend, AttendBack
from ..leaves.leaf import emit_leaf
from .dropout import drawn, masked
from .shape import unbroadcast
from .table import drawing, lowering, pulls

Array = np.ndarray


def _spec(inputs: list[Any], params: dict[str, Any]) -> kernel.Attention | None:
    query, key, value, *mask = inputs
    lead = query.shape[:-2]
    if mask or key.shape[:-2] != lead or value.shape[:-2] != lead or value.shape[-1] != query.shape[-1]:
        return None
    length, context, width = query.shape[-2], key.shape[-2], query.shape[-1]
    long, short = (kernel.Heads(rows * width, rows * width, width) for rows in (length, context))
    return kernel.Attention(
        prod(lead), 1, length, context, width, long, short, short, long, params["scale"], params["causal"],
        query.dtype.name,
    )  # fmt: skip


def _probabilities(query: Array, key: Array, spec: kernel.Attention) -> Array:
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * spec.scale
    if spec.causal:
        scores = np.where(np.arange(spec.context) <= np.arange(spec.length)[:, None], scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(top), 0.0, top).astype(top.dtype))
    return np.asarray(e / np.maximum(e.sum(axis=-1, keepdims=True), 1.0))


def _forward(b: Builder, inputs: list[Any], spec: kernel.Attention) -> tuple[Value, ...]:
    query = inputs[0]
    columns = kernel.probability_columns(spec)

    def meaning(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        weights = _probabilities(q, k, spec)
        kept = np.zeros((*weights.shape[:-1], columns), weights.dtype)
        kept[..., : spec.context] = weights
        return np.matmul(weights, v), kept

    shapes = [(query.shape, query.dtype), ((*query.shape[:-1], columns), query.dtype)]
    return emit_leaf(b, Attend(spec), inputs[:3], shapes, meaning)


@lowering(Attention)
def attention(b: Builder, inputs: list[Any], params: dict[str, Any], op: Any, like: Value) -> Value | None:
    """The weighted averages."""
    if params["dropout_p"] or not (like.size and inputs[1].size):
        return None
    spec = _spec(inputs, params)
    if spec is None:
        return b.matmul(_weights(b, inputs, params), inputs[2])
    return _forward(b, inputs, spec)[0]


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


def _composed_pull(b: Builder, pull: Any) -> list[Value | None]:
    """The gradients of query, key, value and an additive mask."""
    query, key, value = pull.inputs[:3]
    weights, scale = _weights(b, pull.inputs, pull.params), pull.params["scale"]
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
    """The three gradients from the probabilities of the forward pass."""
    thinned = bool(pull.params["dropout_p"])
    if thinned != (pull.kept is not None) or not (pull.g.size and pull.inputs[1].size):
        return None
    spec = None if thinned else _spec(pull.inputs, pull.params)
    if spec is None:
        return _composed_pull(b, pull)
    query, key, value = pull.inputs[:3]
    _, kept = _forward(b, pull.inputs, spec)

    def meaning(q: Array, k: Array, v: Array, kept: Array, g: Array) -> tuple[Array, Array, Array]:
        weights = kept[..., : spec.context]
        dp = np.matmul(g, np.swapaxes(v, -1, -2))
        ds = weights * (dp - (dp * weights).sum(axis=-1, keepdims=True)) * spec.scale
        turned = np.swapaxes(ds, -1, -2)
        return np.matmul(ds, k), np.matmul(turned, q), np.matmul(np.swapaxes(weights, -1, -2), g)

    shapes = [(v.shape, v.dtype) for v in (query, key, value)]
    parts = emit_leaf(b, AttendBack(spec), [query, key, value, kept, pull.g], shapes, meaning)
    made = [part if need else None for part, need in zip(parts, pull.needs, strict=False)]
    return [*made, *[None] * (len(pull.needs) - 3)]
