"""Attention between several heads, and encoder layers built on it (Vaswani et al. 2017)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..errors import OperationError
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from . import init
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear, empty_parameter
from .module import Module
from .normalization import LayerNorm
from .parameter import Parameter

__all__ = ["MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"]

_NEVER = float("-inf")


class MultiheadAttention(Module):
    """Several heads, each attending from queries to keys and collecting values, joined by a linear layer.

    Args:
        embed_dim: size of queries and outputs; a multiple of ``num_heads``.
        num_heads: how many heads; each works in ``embed_dim // num_heads`` dimensions.
        dropout: chance that an attention weight is dropped while training.
        bias: whether the projections have biases.
        add_bias_kv: add a learned key and value at the end of every sequence.
        add_zero_attn: add a key and value of zeros at the end of every sequence.
        kdim: size of keys; ``embed_dim`` unless given.
        vdim: size of values; ``embed_dim`` unless given.
        batch_first: inputs are (batch, length, size) instead of (length, batch, size).
        device: only ``"cpu"``.
        dtype: of the parameters.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise OperationError(
                f"MultiheadAttention at {describe(mark())}: embed_dim={embed_dim} cannot be shared equally by "
                f"num_heads={num_heads}."
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self._make_parameters(bias, add_bias_kv, {"device": device, "dtype": dtype})
        self._reset_parameters()

    def _make_parameters(self, bias: bool, add_bias_kv: bool, options: dict[str, Any]) -> None:
        size = self.embed_dim
        joint = self.kdim == self.vdim == size
        self.register_parameter("in_proj_weight", empty_parameter(3 * size, size, **options) if joint else None)
        for name, width in (("q", size), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if joint else empty_parameter(size, width, **options))
        self.register_parameter("in_proj_bias", empty_parameter(3 * size, **options) if bias else None)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, empty_parameter(1, 1, size, **options) if add_bias_kv else None)
        self.out_proj = Linear(size, size, bias=bias, **options)

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from every query to every key that no mask excludes.

        Args:
            query: (queries, batch, embed_dim), or as ``batch_first`` says; or (queries, embed_dim) without a batch.
            key: (keys, batch, kdim), likewise.
            value: (keys, batch, vdim), likewise.
            key_padding_mask: (batch, keys), true (or −∞, added to the scores) where a key is padding.
            need_weights: return the attention weights too; without them it is faster.
            attn_mask: (queries, keys) or (batch · heads, queries, keys), true where attention is forbidden, or floats
                that are added to the scores.
            average_attn_weights: average the returned weights over heads.
            is_causal: with ``attn_mask`` a hint that changes nothing; alone, forbid attention to later keys.

        Returns:
            The output, shaped like ``query``, and the weights (batch, queries, keys), with heads as a second dimension
            unless averaged; or None.
        """
        batched = query.ndim == 3
        self._check(query, key, value)
        q, k, v = self._project(query, key, value)
        if not batched:
            q, k, v = (t.reshape((1, *t.shape)) for t in (q, k, v))
        elif not self.batch_first:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        if is_causal and attn_mask is None:
            attn_mask = Tensor(~np.tri(q.shape[1], k.shape[1], dtype=np.bool_))
        k, v, added = self._lengthened(k, v)
        mask = self._mask(key_padding_mask, attn_mask, q, added)
        joined, weights = self._attend(self._heads(q), self._heads(k), self._heads(v), mask, need_weights)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return joined[0], None if weights is None else weights[0]
        return joined if self.batch_first else joined.transpose(0, 1), weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        sizes = tuple(t.shape[-1] if t.ndim in (2, 3) else None for t in (query, key, value))
        same = query.ndim == key.ndim == value.ndim and key.shape[:-1] == value.shape[:-1]
        if sizes != (self.embed_dim, self.kdim, self.vdim) or not same:
            raise OperationError(
                f"MultiheadAttention at {describe(mark())}: query {query.shape}, key {key.shape}, value {value.shape} "
                f"do not fit: the last sizes must be {self.embed_dim}, {self.kdim} and {self.vdim}, with 3 dimensions "
                "each (or 2, without a batch), key and value of the same length."
            )

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is not None and query is key is value:
            return ops.chunk(ops.linear(query, weight, bias), 3, -1)
        if weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = ops.chunk(weight, 3, 0)
        biases = (None,) * 3 if bias is None else ops.chunk(bias, 3, 0)
        inputs = (query, key, value)
        q, k, v = (ops.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))
        return q, k, v

    def _lengthened(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Keys and values (batch, keys, size) with the learned and the zero entry at their ends, if there are any."""
        before, batch = k.shape[1], k.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            k = ops.cat([k, self.bias_k.expand(batch, 1, -1)], 1)
            v = ops.cat([v, self.bias_v.expand(batch, 1, -1)], 1)
        if self.add_zero_attn:
            k, v = (F.pad(t, (0, 0, 0, 1)) for t in (k, v))
        return k, v, k.shape[1] - before

    def _heads(self, t: Tensor) -> Tensor:
        """(batch, length, size) as (batch, heads, length, size of a head)."""
        return t.reshape((*t.shape[:2], self.num_heads, self.head_dim)).transpose(1, 2)

    def _mask(self, padding: Tensor | None, attention: Tensor | None, like: Tensor, added: int) -> Tensor | None:
        """Both masks as one, to be added to the scores (batch, heads, queries, keys); added keys are never masked."""
        parts, batch = [], like.shape[0]
        if attention is not None:
            attention = _added(attention, added, like.dtype)
            if attention.ndim == 3:
                attention = attention.reshape((batch, self.num_heads, *attention.shape[1:]))
            parts.append(attention)
        if padding is not None:
            padding = _added(padding, added, like.dtype)
            parts.append(padding.reshape((batch, 1, 1, padding.shape[-1])))
        return None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Any, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        chance = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * (1.0 / math.sqrt(self.head_dim))) @ k.mT
            weights = F.softmax(scores if mask is None else scores + mask, -1)
            if chance > 0.0:
                weights = F.dropout(weights, chance)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, chance)
        joined = out.transpose(1, 2).reshape((q.shape[0], q.shape[2], self.embed_dim))
        return self.out_proj(joined), weights


def _added(mask: Tensor, added: int, dtype: Any) -> Tensor:
    """A mask in the form that is added to scores, with ``added`` unmasked keys at its end."""
    if mask.dtype.kind == "b":
        mask = Tensor(np.where(mask._data, _NEVER, 0.0).astype(dtype))
    return F.pad(mask, (0, added)) if added else mask


class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, each with a residual connection, layer norm and dropout.

    Args:
        d_model: size of the inputs and outputs.
        nhead: heads of the attention.
        dim_feedforward: size of the hidden layer.
        dropout: chance of dropping, in all places.
        activation: ``"relu"``, ``"gelu"`` or a function.
        layer_norm_eps: added to the variance in the norms.
        batch_first: inputs are (batch, length, size) instead of (length, batch, size).
        norm_first: normalise before each part instead of after its residual connection.
        bias: whether linear layers and norms have biases.
        device: only ``"cpu"``.
        dtype: of the parameters.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **options)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **options)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **options)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **options)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = src + self._attention(self.norm1(src), *masks)
            return x + self._network(self.norm2(x))
        x = self.norm1(src + self._attention(src, *masks))
        return self.norm2(x + self._network(x))

    def _attention(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        out, _ = self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=is_causal)
        return self.dropout1(out)

    def _network(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


def _activation(given: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if callable(given):
        return given
    named = {"relu": F.relu, "gelu": F.gelu}
    if given not in named:
        raise OperationError(
            f"TransformerEncoderLayer: activation must be 'relu', 'gelu' or a function, got {given!r}."
        )
    return named[given]


class TransformerEncoder(Module):
    """``num_layers`` copies of an encoder layer, one after another, and a norm behind them if one is given.

    The copies start with the same weights, as in PyTorch; ``enable_nested_tensor`` and ``mask_check`` change nothing.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)
