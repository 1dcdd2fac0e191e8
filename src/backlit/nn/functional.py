"""Operations under the names of ``torch.nn.functional``: what layers compute, without their parameters.

Most are re-exported from :mod:`backlit.ops`. What is written here is composed of those, or adds PyTorch's ``inplace``
and ``training`` arguments. ``inplace=True`` writes the result into the input and returns the input; it saves no memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..creation import arange
from ..errors import OperationError
from ..missing import MISSING_FUNCTIONAL, attributes_of
from ..ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_embedding_loss,
    cross_entropy,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    embedding,
    gaussian_nll_loss,
    gelu,
    glu,
    group_norm,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    instance_norm,
    interpolate,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_softmax,
    logsigmoid,
    margin_ranking_loss,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    one_hot,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    poisson_nll_loss,
    prelu,
    rms_norm,
    scaled_dot_product_attention,
    sigmoid,
    smooth_l1_loss,
    soft_margin_loss,
    softmax,
    softmin,
    softplus,
    tanh,
    triplet_margin_loss,
)
from ..ops.inplace import write
from ..random import default_generator
from ..source import describe, mark
from ..tensor import Tensor, constant

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "upsample",
]

# -- activations with an inplace argument ------------------------------------------------------------------------------

relu_ = write(ops.relu, "relu_")
_relu6_ = write(ops.relu6, "relu6_")
leaky_relu_ = write(ops.leaky_relu, "leaky_relu_")
elu_ = write(ops.elu, "elu_")
selu_ = write(ops.selu, "selu_")
_silu_ = write(ops.silu, "silu_")
_mish_ = write(ops.mish, "mish_")
hardtanh_ = write(ops.hardtanh, "hardtanh_")
_hardsigmoid_ = write(ops.hardsigmoid, "hardsigmoid_")
_hardswish_ = write(ops.hardswish, "hardswish_")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``."""
    return relu_(input) if inplace else ops.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return _relu6_(input) if inplace else ops.relu6(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` where positive, ``negative_slope · x`` elsewhere."""
    return (leaky_relu_ if inplace else ops.leaky_relu)(input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` where positive, ``alpha · (eˣ − 1)`` elsewhere."""
    return (elu_ if inplace else ops.elu)(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalising ``elu`` (Klambauer et al. 2017)."""
    return (selu_ if inplace else ops.selu)(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x σ(x)``."""
    return (_silu_ if inplace else ops.silu)(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x tanh(softplus(x))``."""
    return (_mish_ if inplace else ops.mish)(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``x``, limited to ``[min_val, max_val]``."""
    return (hardtanh_ if inplace else ops.hardtanh)(input, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``x/6 + ½``, limited to [0, 1]."""
    return (_hardsigmoid_ if inplace else ops.hardsigmoid)(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x`` times its hard sigmoid."""
    return (_hardswish_ if inplace else ops.hardswish)(input)


# -- activations composed of operations --------------------------------------------------------------------------------


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` where positive, ``alpha · (e^(x/alpha) − 1)`` elsewhere: ``elu`` with a continuous slope."""
    if inplace:
        return celu_(input, alpha)
    return ops.elu(input / alpha) * alpha


celu_ = write(celu, "celu_")


def softsign(input: Tensor) -> Tensor:
    """``x/(1 + |x|)``."""
    return input / (ops.abs(input) + 1.0)


def tanhshrink(input: Tensor) -> Tensor:
    """``x − tanh x``."""
    return input - tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards zero by ``lambd``, and zero within ``lambd`` of it."""
    if lambd < 0:
        raise OperationError(f"softshrink at {describe(mark())}: lambd must not be negative, it is {lambd}.")
    return input - ops.clamp(input, -lambd, lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` where ``|x| > lambd``, zero elsewhere; NaN stays NaN."""
    return ops.where(ops.abs(input) <= lambd, 0.0, input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``x`` where ``x > threshold``, ``value`` elsewhere; NaN stays NaN."""
    if inplace:
        return threshold_(input, threshold, value)
    return ops.where(input <= threshold, value, input)


threshold_ = write(threshold, "threshold_")


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A random choice that gradients pass through: the softmax of logits with Gumbel noise (Jang et al. 2017).

    Args:
        logits: unnormalised log-probabilities along ``dim``.
        tau: the temperature; the smaller, the closer to a single choice.
        hard: choose one entry outright, with the gradient of the soft choice.
        eps: accepted and ignored, as in PyTorch.
    """
    del eps
    clocks = default_generator.numpy.standard_exponential(logits.shape)
    noise = -np.log(np.maximum(clocks, np.finfo(np.float32).tiny))
    soft = softmax((logits + constant(noise.astype(logits.dtype))) / tau, dim)
    if not hard:
        return soft
    chosen = (soft.detach().argmax(dim, keepdim=True) == _places_along(soft, dim)).to(soft.dtype)
    return (chosen - soft).detach() + soft


def _places_along(x: Tensor, dim: int) -> Tensor:
    """0, 1, 2 … along one dimension, with size 1 in the others."""
    return arange(x.shape[dim]).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """An older name of :func:`interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


# -- distances and directions ------------------------------------------------------------------------------------------


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y[..., k] = Σᵢⱼ input1[..., i] weight[k, i, j] input2[..., j] + bias[k]``."""
    out, in1, in2 = weight.shape
    rows = linear(input2, weight.reshape((-1, in2)))  # (..., out · in1): Σⱼ weight[k, i, j] input2[..., j]
    rows = rows.reshape((*input2.shape[:-1], out, in1))
    y = (rows @ input1.reshape((*input1.shape, 1))).reshape((*input1.shape[:-1], out))
    return y if bias is None else y + bias


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``input`` divided by its p-norm along ``dim``, or by ``eps`` where that is larger."""
    return input / ops.clamp(ops.norm(input, p, dim, keepdim=True), min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along ``dim``; each length counts as at least ``eps``."""
    x1, x2 = ops.broadcast_tensors(x1, x2)
    lengths = [ops.clamp(ops.norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 − x2 + eps`` along the last dimension."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)


__getattr__ = attributes_of("backlit.nn.functional", MISSING_FUNCTIONAL, globals())
