"""What can be computed. One definition per operation, one file per family."""

from .activations import (
    clamp,
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
from .arranging import flip, fliplr, flipud, repeat_interleave, roll, rot90, tile, tril, triu
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
from .convolution import conv1d, conv2d, conv3d
from .extremes import amax, amin, argmax, argmin, max, min
from .gathering import (
    argwhere,
    embedding,
    gather,
    nonzero,
    one_hot,
    scatter,
    scatter_add,
    take,
    take_along_dim,
)
from .indexing import (
    index_add,
    index_copy,
    index_fill,
    index_put,
    index_select,
    masked_fill,
    masked_select,
)
from .joining import cat, column_stack, concat, concatenate, dstack, hstack, stack, vstack
from .linalg import linear, matmul
from .losses import mse_loss
from .methods import attach
from .norms import norm
from .ordering import argsort, kthvalue, median, sort, topk
from .reduction import all, any, count_nonzero, mean, prod, sum
from .rounding import ceil, floor, round, trunc
from .scan import cumprod, cumsum, logcumsumexp
from .padding import pad
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
from .statistics import std, var
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
