"""Scaled dot-product attention without a mask of its own and without dropout, by the kernel for heads."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...ops.attention import Attention
from ..codegen import attention as kernel
from ..ir.build import Builder
from ..ir.program import Value
from ..leaves.attention import Attend, AttendBack
from ..leaves.leaf import emit_leaf
from .table import lowering, pulls

Array = np.ndarray


def _spec(inputs: list[Any], params: dict[str, Any]) -> kernel.Attention | None:
    query, key, value, *mask = inputs
    lead = query.shape[:-2]
    plain = not params["dropout_p"] and (not mask or mask[0] is None)
    if not plain or key.shape[:-2] != lead or value.shape[:-2] != lead or value.shape[-1] != query.shape[-1]:
        return None
    if not (query.size and key.size):
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
    spec = _spec(inputs, params)
    return None if spec is None else _forward(b, inputs, spec)[0]


@pulls(Attention)
def attention_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """The three gradients from the probabilities of the forward pass."""
    spec = _spec(pull.inputs, pull.params)
    if spec is None:
        return None
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
