"""What can be computed. One definition per operation, one file per family."""

from . import methods as _methods
from .activations import (
    clamp,
    clamp_max,
    clamp_min,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
)
from .aliases import functions as _second_names
from .arithmetic import (
    add,
    atan2,
    div,
    floor_divide,
    fmod,
    lerp,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    remainder,
    sub,
    true_divide,
    where,
)
from .arranging import flip, fliplr, flipud, meshgrid, repeat_interleave, roll, rot90, tile, tril, triu
from .attention import scaled_dot_product_attention
from .average_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from .batch_normalization import batch_norm
from .binary_losses import binary_cross_entropy, binary_cross_entropy_with_logits
from .comparison import (
    allclose,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    equal,
    ge,
    gt,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from .composed_losses import (
    cosine_embedding_loss,
    gaussian_nll_loss,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from .contraction import einsum, tensordot
from .convolution import conv1d, conv2d, conv3d
from .counting import bincount, bucketize, histc, isin, searchsorted, unique
from .cross_entropy import cross_entropy, nll_loss
from .dropout import dropout, dropout1d, dropout2d, dropout3d
from .extremes import amax, amin, argmax, argmin, max, min
from .gated_activations import glu, prelu
from .gathering import gather, scatter, scatter_add, take, take_along_dim
from .grids import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    cartesian_prod,
    combinations,
    cross,
    tril_indices,
    triu_indices,
)
from .indexing import index_put
from .joining import cat, column_stack, concat, concatenate, dstack, hstack, stack, vstack
from .linalg import linear, matmul
from .lookup import argwhere, embedding, nonzero, one_hot
from .losses import huber_loss, kl_div, l1_loss, mse_loss, smooth_l1_loss
from .margin_losses import hinge_embedding_loss, hinge_loss, margin_ranking_loss, multi_margin_loss
from .max_pooling import max_pool1d, max_pool2d, max_pool3d
from .normalization import group_norm, instance_norm, layer_norm, rms_norm
from .norms import norm
from .ordering import argsort, kthvalue, median, sort, topk
from .padding import pad
from .products import addmm, addmv, baddbmm, bmm, dot, inner, kron, mm, mv, outer, vdot
from .reduction import all, any, count_nonzero, mean, prod, sum
from .resampling import interpolate, pixel_shuffle, pixel_unshuffle
from .rounding import ceil, floor, round, trunc
from .scan import cumprod, cumsum, logcumsumexp
from .selecting import index_add, index_copy, index_fill, index_select, masked_fill, masked_select
from .shape import (
    broadcast_shapes,
    broadcast_tensors,
    broadcast_to,
    clone,
    expand,
    flatten,
    moveaxis,
    movedim,
    permute,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    swapdims,
    t,
    transpose,
    unflatten,
    unsqueeze,
)
from .slicing import chunk, diag, diag_embed, diagonal, narrow, select, split, tensor_split, trace, unbind
from .softmax import log_softmax, logsumexp, softmax, softmin
from .special import (
    addcdiv,
    addcmul,
    deg2rad,
    erfc,
    erfinv,
    exp2,
    frac,
    hypot,
    logaddexp,
    logit,
    nan_to_num,
    rad2deg,
    sinc,
    xlogy,
)
from .statistics import std, var
from .summaries import (
    aminmax,
    cdist,
    corrcoef,
    cov,
    diff,
    dist,
    nanmean,
    nansum,
    quantile,
    std_mean,
    var_mean,
)
from .transcendental import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cos,
    cosh,
    erf,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    reciprocal,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
)
from .transposed_convolution import conv_transpose1d, conv_transpose2d, conv_transpose3d

globals().update(_second_names())

# Everything imported above, and not the files of this folder.
__all__ = [name for name, value in list(globals().items()) if callable(value) and not name.startswith("_")]
