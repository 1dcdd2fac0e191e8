"""Scaled dot-product attention (Vaswani et al. 2017), fused: scores, mask, softmax, dropout and the weighted sum.

With P = softmax(s Q Kᵀ + M) and O = P V,

    dV = Pᵀ dO,   dS = P ∘ (dP − Σ dP ∘ P),  dP = dO Vᵀ,   dQ = s dS K,   dK = s dSᵀ Q,   dM = dS.

For the backward pass PyTorch keeps O and a number for each query, and so do we, or less: probabilities where they are
no larger than that (or dropout is on: then PyTorch keeps them too); otherwise each query's largest score, with which
exponentials are made again, head by head, in memory that stays in the cache (Dao et al. 2022).
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from ..errors import OperationError
from ..random import Generator, default_generator
from ..source import describe, mark
from .arithmetic import where
from .definition import Op, Sample, Tensor, apply, constant, operation
from .dropout import masked
from .elementwise import operand, unbroadcast
from .transcendental import exp

Array = np.ndarray

_BLOCK = 1 << 17
"""Scores worked on at a time."""


class Attention(Op):
    """Values averaged with weights that grow with the likeness of query and key."""

    name = "scaled_dot_product_attention"
    formula = "O = softmax(s Q Kᵀ + M) V"
    gate = "V receives what its weights pass on; Q and K swap through the scores, softmax makes rows of dS sum to zero"
    has_extra = True

    def forward(query, key, value, mask=None, *, scale, causal, dropout_p, generator):
        if not dropout_p and key.shape[-2] > value.shape[-1] + 1:
            lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
            if np.broadcast_shapes(lead, value.shape[:-2]) == lead:
                out, top = _forward_by_blocks(query, key, value, mask, scale, causal)
                return out, (None, top, None)
        weights = _scores(query, key, mask, scale, _ahead(causal, query, key))
        weights /= _raise(weights, _tops(weights))
        kept = (generator or default_generator).chances(1.0 - dropout_p, weights.shape) if dropout_p else None
        return _thinned(weights, kept, dropout_p) @ value, (weights, None, kept)

    @classmethod
    def again(cls, extra, query, key, value, mask=None, *, scale, causal, dropout_p, generator):
        if not dropout_p:
            return cls.forward(query, key, value, mask, scale=scale, causal=causal, dropout_p=0.0, generator=None)
        if extra is None:
            raise LookupError("the dropped entries are no longer known")
        kept = extra[2]
        weights = _scores(query, key, mask, scale, _ahead(causal, query, key))
        weights /= _raise(weights, _tops(weights))
        return _thinned(weights, kept, dropout_p) @ value, (weights, None, kept)

    @classmethod
    def gradient_form(cls, name, ctx):
        if ctx.params["dropout_p"]:
            return ""
        scores, meanings = "S", f"S = s · query keyᵀ, s = {ctx.params['scale']:.6g}"
        if len(ctx.shapes) > 3 and ctx.shapes[3]:
            scores = "masked(S, mask)"
            meanings += ", masked: S plus the mask, or −∞ where its truth values forbid"
        if ctx.params["causal"]:
            scores = f"causal({scores})"
            meanings += ", causal: −∞ where the key lies ahead of the query"
        meanings = f"P = softmax({scores}), {meanings}"
        if name == "value":
            return f"Pᵀ g; {meanings}"
        forms = {"query": "s · (dS key)", "key": "s · (dSᵀ query)", "mask": "dS"}
        return f"{forms[name]}; dS = P ⊙ (dP − Σ_row(P ⊙ dP)), dP = g valueᵀ, {meanings}"

    def vjp(ctx, g, query, key, value, mask):
        weights, top, kept = ctx.extra
        if isinstance(g, Tensor):
            weights = _probabilities_recorded(query, key, mask, ctx.params)
        elif weights is None:
            return _backward_by_blocks(ctx, g, query, key, value, mask, top)
        thin = ctx.params["dropout_p"]
        parts: list[Any] = [None] * len(ctx.edges)
        if ctx.edges[2] is not None:
            parts[2] = unbroadcast(_thinned(weights, kept, thin).mT @ g, ctx.shapes[2])
        if any(edge is not None for i, edge in enumerate(ctx.edges) if i != 2):
            ds = _through_softmax(weights, _thinned(g @ value.mT, kept, thin))
            _score_gradients(ctx, ds, query, key, parts)
        return parts

    def jvp(ctx, tangents, query, key, value, mask):
        dq, dk, dv, dm = [*tangents, None][:4]
        scale, thin, kept = ctx.params["scale"], ctx.params["dropout_p"], ctx.extra[2]
        weights = _probabilities_recorded(query, key, mask, ctx.params)
        ds = None if dq is None else (dq * scale) @ key.mT
        if dk is not None:
            part = (query * scale) @ dk.mT
            ds = part if ds is None else ds + part
        if dm is not None:
            ds = dm if ds is None else ds + dm
        total = None if dv is None else _thinned(weights, kept, thin) @ dv
        if ds is not None:
            part = _thinned(_through_softmax(weights, ds), kept, thin) @ value
            total = part if total is None else total + part
        return total


def _score_gradients(ctx: Any, ds: Any, query: Any, key: Any, parts: list[Any]) -> None:
    """From the gradient of the scores, those of query, key and an additive mask."""
    scale = ctx.params["scale"]
    if ctx.edges[0] is not None:
        parts[0] = unbroadcast((ds @ key) * scale, ctx.shapes[0])
    if ctx.edges[1] is not None:
        parts[1] = unbroadcast((ds.mT @ query) * scale, ctx.shapes[1])
    if len(ctx.edges) > 3 and ctx.edges[3] is not None:
        parts[3] = unbroadcast(ds, ctx.shapes[3])


def _blocks(lead: tuple[int, ...], each: int) -> Any:
    """Indices of the first leading dimensions, as few as keep the ``each`` scores of the rest below ``_BLOCK``."""
    depth = 0
    while depth < len(lead) and prod(lead[depth:]) * each > _BLOCK:
        depth += 1
    return np.ndindex(lead[:depth])


def _stretched(lead: tuple[int, ...], query: Array, key: Array, value: Array, mask: Array | None) -> list[Any]:
    """All with all leading dimensions, and the mask, if there is one, with the shape of the scores."""
    shapes = [(*lead, *x.shape[-2:]) for x in (query, key, value)]
    if mask is not None:
        shapes.append((*lead, query.shape[-2], key.shape[-2]))
    given: list[Any] = [query, key, value, mask]
    return [x if x.shape == s else np.broadcast_to(x, s) for x, s in zip(given, shapes, strict=False)]


def _forward_by_blocks(query: Array, key: Array, value: Array, mask: Array | None, scale: float, causal: bool) -> Any:
    """The output, and each row's largest score."""
    lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    rows = (*lead, query.shape[-2])
    q, k, v, m = [*_stretched(lead, query, key, value, mask), None][:4]
    out, top = np.empty((*rows, value.shape[-1]), query.dtype), np.empty((*rows, 1), query.dtype)
    ahead = _ahead(causal, query, key)
    for i in _blocks(lead, query.shape[-2] * key.shape[-2]):
        e = _scores(q[i], k[i], None if m is None else m[i], scale, ahead)
        top[i] = _tops(e)
        total = _raise(e, top[i])
        np.matmul(e, v[i], out=out[i])
        out[i] /= total
    return out, top


def _backward_by_blocks(
    ctx: Any, g: Array, query: Array, key: Array, value: Array, mask: Array | None, top: Array
) -> list[Any]:
    """All gradients from exponentials E, where P = E / total: rows are divided where they are short."""
    scale, causal = ctx.params["scale"], ctx.params["causal"]
    lead = g.shape[:-2]
    q, k, v, m = full = [*_stretched(lead, query, key, value, mask), None][:4]
    parts: list[Any] = [
        None if edge is None else np.empty(x.shape, g.dtype) for edge, x in zip(ctx.edges, full, strict=False)
    ]
    dq, dk, dv, dm = [*parts, None][:4]
    ahead = _ahead(causal, query, key)
    for i in _blocks(lead, query.shape[-2] * key.shape[-2]):
        e = _scores(q[i], k[i], None if m is None else m[i], scale, ahead)
        total = _raise(e, top[i])
        shared = g[i] / total
        if dv is not None:
            np.matmul(e.mT, shared, out=dv[i])
        ds = shared @ v[i].mT
        ds -= np.vecdot(e, ds)[..., None] / total
        ds *= e
        if dm is not None:
            dm[i] = ds
        ds *= ds.dtype.type(scale)
        if dq is not None:
            np.matmul(ds, k[i], out=dq[i])
        if dk is not None:
            np.matmul(ds.mT, q[i], out=dk[i])
    return [None if part is None else unbroadcast(part, shape) for part, shape in zip(parts, ctx.shapes, strict=True)]


def _through_softmax(weights: Any, d: Any) -> Any:
    """The softmax's symmetric Jacobian, P ∘ (d − Σ d ∘ P), applied to each row."""
    if isinstance(d, Tensor):
        return weights * (d - (weights * d).sum(axis=-1, keepdims=True))
    return weights * (d - np.vecdot(weights, d)[..., None])


def _thinned(weights: Any, kept: Array | None, p: float) -> Any:
    """Dropout with a mask that was drawn before."""
    return weights if kept is None else masked(weights, kept, p)


def _scores(query: Array, key: Array, mask: Array | None, scale: float, ahead: Array | None) -> Array:
    scores = (query * query.dtype.type(scale)) @ key.mT
    blocked = _blocked(mask, ahead)
    if blocked is not None:
        np.copyto(scores, -np.inf, where=blocked)
    elif mask is not None:
        scores += mask
    return scores


def _tops(scores: Array) -> Array:
    """What to subtract from each row before exp: its largest score, 0 where there is none."""
    top = np.maximum.reduce(scores, axis=-1, keepdims=True, initial=-np.inf)
    top[np.isneginf(top)] = 0.0
    return top


def _raise(scores: Array, top: Array) -> Array:
    """Scores into exponentials, in place. Returns what to divide rows by: their sums.

    Those are at least 1, but for rows without any key, which stay zero, as in PyTorch.
    """
    scores -= top
    np.exp(scores, out=scores)
    return np.maximum(np.add.reduce(scores, axis=-1, keepdims=True), 1.0)


def _probabilities_recorded(query: Tensor, key: Tensor, mask: Tensor | None, params: dict[str, Any]) -> Tensor:
    """Probabilities out of recorded operations."""
    scores = (query * params["scale"]) @ key.mT
    blocked = _blocked(None if mask is None else mask._data, _ahead(params["causal"], query, key))
    if blocked is not None:
        scores = where(constant(blocked), -np.inf, scores)
    elif mask is not None:
        scores = scores + mask
    raised = exp(scores - constant(_tops(scores._data)))
    total = raised.sum(axis=-1, keepdims=True)
    return raised / (total + constant(total._data == 0))


def _ahead(causal: bool, query: Any, key: Any) -> Array | None:
    """Where a key lies ahead of the query, if that counts."""
    return np.arange(key.shape[-2]) > np.arange(query.shape[-2])[:, None] if causal else None


def _blocked(mask: Array | None, ahead: Array | None) -> Array | None:
    """Where a query must not look; None if every query sees every key, or an additive mask decides."""
    if ahead is not None:
        return ahead
    return ~mask if mask is not None and mask.dtype == np.bool_ else None


def _samples(rng: np.random.Generator) -> Any:
    def draw(*shape: int) -> Array:
        return rng.normal(size=shape)

    some = np.array([[True, False, True, True], [False, True, False, False], [True, True, True, True]])
    yield Sample(draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 2))
    yield Sample(draw(3, 2), draw(4, 2), draw(4, 3), some)
    yield Sample(draw(2, 3, 2), draw(2, 4, 2), draw(2, 4, 3), draw(3, 4))
    yield Sample(draw(1, 2, 3, 2), draw(1, 2, 4, 2), draw(1, 2, 4, 2), is_causal=True)
    yield Sample(draw(1, 4, 3, 2), draw(2, 1, 4, 2), draw(2, 1, 4, 2), draw(2, 1, 1, 4), scale=0.3)
    yield Sample(draw(2, 3, 2), draw(2, 4, 2), draw(2, 4, 3), None, 0.4)
    yield Sample(draw(1, 4, 3, 2), draw(1, 2, 4, 2), draw(1, 2, 4, 2), draw(4, 3, 4), enable_gqa=True)
    yield Sample(draw(0, 3, 2), draw(0, 4, 2), draw(0, 4, 3))
    yield Sample(draw(2, 3, 2), draw(2, 4, 2), draw(2, 4, 2), some)


@operation(Attention, samples=_samples)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Values averaged with weights ``softmax(scale · query keyᵀ + mask)``.

    Args:
        query: shape (..., L, E).
        key: shape (..., S, E).
        value: shape (..., S, V). Leading dimensions of the three broadcast.
        attn_mask: broadcast to (..., L, S). Boolean: True where a query may look; floating: added to the scores.
        dropout_p: the probability of dropping a weight. It applies whenever it is not 0: pass 0 outside training.
        is_causal: query i looks at keys 0 … i only. Not together with ``attn_mask``.
        scale: what scores are multiplied by; 1/√E where not given.
        enable_gqa: dimension −3 holds heads, and neighbouring query heads share one head of key and value.
        generator: where the dropout mask is drawn from; the default generator where not given.

    Returns:
        Shape (..., L, V). A query that may look at no key gives zeros.

    Raises:
        OperationError: shapes or dtypes that do not fit, or a mask together with ``is_causal``.
    """
    q, k, v = operand(query), operand(key), operand(value)
    mask = None if attn_mask is None else operand(attn_mask)
    _check(q, k, v, mask, dropout_p, is_causal)
    heads = q.shape[:-1]
    if enable_gqa:
        q, k, v, mask = _share_heads(q, k, v, mask)
    _check_broadcast(q, k, v, mask)
    if mask is not None and mask.dtype != np.bool_ and mask.dtype != q.dtype:
        mask = mask.astype(q.dtype)
    params = {
        "scale": 1.0 / sqrt(q.shape[-1]) if scale is None else float(scale),
        "causal": bool(is_causal),
        "dropout_p": float(dropout_p),
        "generator": generator,
    }
    out = apply(Attention, (q, k, v) if mask is None else (q, k, v, mask), params)
    return out.reshape((*heads, v.shape[-1])) if enable_gqa else out


def _check(q: Any, k: Any, v: Any, mask: Any, dropout_p: float, causal: bool) -> None:
    def fail(why: str) -> OperationError:
        return OperationError(f"{Attention.name} at {describe(mark())}: {why}")

    shapes = f"query {tuple(q.shape)}, key {tuple(k.shape)}, value {tuple(v.shape)}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise fail(f"needs query (..., L, E), key (..., S, E) and value (..., S, V); got {shapes}.")
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind != "f":
        raise fail(f"query, key and value need one floating dtype; got {q.dtype}, {k.dtype} and {v.dtype}.")
    if mask is not None and (causal or mask.dtype.kind not in "bf"):
        raise fail(f"attn_mask is boolean or floating, and not given with is_causal=True; got dtype {mask.dtype}.")
    if not 0.0 <= dropout_p <= 1.0:
        raise fail(f"dropout_p is a probability between 0 and 1; got {dropout_p!r}.")


def _check_broadcast(q: Any, k: Any, v: Any, mask: Any) -> None:
    """Leading dimensions must broadcast, and the mask to the scores."""
    try:
        scores = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2])
        np.broadcast_shapes(scores[:-2], v.shape[:-2])
        fits = mask is None or np.broadcast_shapes(scores, mask.shape) == scores
    except ValueError:
        fits = False
    if not fits:
        raise OperationError(
            f"{Attention.name} at {describe(mark())}: leading dimensions of query {tuple(q.shape)}, key "
            f"{tuple(k.shape)} and value {tuple(v.shape)} must broadcast, and attn_mask "
            f"{None if mask is None else tuple(mask.shape)} to (..., {q.shape[-2]}, {k.shape[-2]})."
        )


def _share_heads(q: Any, k: Any, v: Any, mask: Any) -> tuple[Any, Any, Any, Any]:
    """Query heads in groups, one group for each head of key and value, which is broadcast over it."""
    if min(q.ndim, k.ndim, v.ndim) < 3 or k.shape[-3] != v.shape[-3] or q.shape[-3] % max(1, k.shape[-3]):
        raise OperationError(
            f"{Attention.name} at {describe(mark())}: with enable_gqa the heads (dimension −3) of key and value "
            f"must agree and divide the query's; got {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}."
        )
    shared = k.shape[-3]
    each = q.shape[-3] // shared

    def grouped(x: Any, heads: int, size: int) -> Any:
        return x.reshape((*x.shape[:-3], heads, size, *x.shape[-2:]))

    if mask is not None and mask.ndim > 2:
        mask = grouped(mask, 1, 1) if mask.shape[-3] == 1 else grouped(mask, shared, each)
    return grouped(q, shared, each), grouped(k, shared, 1), grouped(v, shared, 1), mask
