"""Operations as methods and operators of :class:`~backlit.tensor.Tensor`."""

from __future__ import annotations

import numpy as np

from .. import random
from . import (  # type: ignore[no-redef]  # noqa: F401
    activations,
    aliases,
    arithmetic,
    arranging,
    comparison,
    conversions,
    counting,
    extremes,
    gathering,
    grids,
    indexing,
    inplace,
    joining,
    linalg,
    lookup,
    norms,
    numpy_protocol,
    ordering,
    padding,
    products,
    reduction,
    rounding,
    scan,
    selecting,
    shape,
    slicing,
    softmax,
    special,
    statistics,
    summaries,
    transcendental,
)
from .definition import REGISTRY, Tensor

_OPERATORS = {
    "__add__": arithmetic.plain_add,
    "__mul__": arithmetic.mul,
    "__sub__": arithmetic.plain_sub,
    "__truediv__": arithmetic.plain_div,
    "__pow__": arithmetic.pow,
    "__matmul__": linalg.matmul,
    "__neg__": arithmetic.neg,
    "__mod__": arithmetic.remainder,
    "__floordiv__": arithmetic.floor_divide,
    "__abs__": transcendental.abs,
    "__eq__": comparison.eq,
    "__ne__": comparison.ne,
    "__lt__": comparison.lt,
    "__le__": comparison.le,
    "__gt__": comparison.gt,
    "__ge__": comparison.ge,
    "__and__": comparison.bitwise_and,
    "__or__": comparison.bitwise_or,
    "__xor__": comparison.bitwise_xor,
    "__invert__": comparison.bitwise_not,
    "__radd__": lambda x, y: arithmetic.plain_add(y, x),
    "__rmul__": lambda x, y: arithmetic.mul(y, x),
    "__rsub__": lambda x, y: arithmetic.plain_sub(y, x),
    "__rtruediv__": lambda x, y: arithmetic.plain_div(y, x),
    "__rpow__": lambda x, y: arithmetic.pow(y, x),
    "__rmatmul__": lambda x, y: linalg.matmul(y, x),
    "__rmod__": lambda x, y: arithmetic.remainder(y, x),
    "__rfloordiv__": lambda x, y: arithmetic.floor_divide(y, x),
    "__rand__": lambda x, y: comparison.bitwise_and(y, x),
    "__ror__": lambda x, y: comparison.bitwise_or(y, x),
}


# One line a family. A name is a registered operation whose first argument is the tensor.
METHODS = (
    "abs exp expm1 log log1p log2 log10 sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
    "acosh atanh erf sign neg floor ceil trunc round",
    "exp2 erfc erfinv sinc logit hypot logaddexp xlogy nan_to_num frac deg2rad rad2deg addcmul addcdiv",
    "sigmoid logsigmoid relu clamp",
    "add sub mul div pow maximum minimum atan2 remainder fmod floor_divide lerp",
    "eq ne lt le gt ge isnan isinf isfinite",
    "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not",
    "sum mean prod any all count_nonzero var std norm",
    "aminmax nansum nanmean quantile cov corrcoef diff dist cross",
    "bincount histc isin unique unfold",
    "max min amax amin argmax argmin median kthvalue sort argsort topk",
    "cumsum cumprod logcumsumexp logsumexp softmax log_softmax",
    "matmul mm bmm mv dot outer inner kron addmm addmv baddbmm",
    "reshape view view_as reshape_as flatten ravel unflatten squeeze unsqueeze permute transpose movedim t",
    "expand expand_as broadcast_to repeat tile repeat_interleave flip fliplr flipud roll rot90 tril triu clone "
    "contiguous",
    "select narrow split chunk tensor_split unbind diagonal diag_embed diag trace",
    "index_put index_select index_add index_copy index_fill masked_fill masked_select",
    "gather scatter scatter_add take take_along_dim argwhere nonzero",
)

# Methods under another name than the operation's, and functions that are not in the registry.
ALIASES = {
    "allclose": comparison.allclose,
    "isclose": comparison.isclose,
    "equal": comparison.equal,
    "__getitem__": indexing.getitem,
    "__iter__": slicing.iterate,
    "where": lambda x, condition, y: arithmetic.where(condition, x, y),
    "clamp_min": activations.clamp_min,
    "clamp_max": activations.clamp_max,
    "swapaxes": shape.transpose,
    "swapdims": shape.transpose,
    "moveaxis": shape.movedim,
    "bernoulli": random.bernoulli,
    "multinomial": random.multinomial,
    "uniform_": random.uniform_,
    "normal_": random.normal_,
    "bernoulli_": random.bernoulli_,
    "T": property(shape.T),
    "mT": property(shape.mT),
}


# Methods that have an in-place form, written with a trailing underscore.
IN_PLACE = (
    "abs exp expm1 log log1p log2 log10 sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
    "acosh atanh erf sign neg floor ceil trunc round sigmoid relu clamp pow remainder fmod floor_divide lerp atan2 "
    "exp2 erfc erfinv sinc logit hypot xlogy nan_to_num frac deg2rad rad2deg addcmul addcdiv cumsum cumprod tril triu "
    "eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not "
    "masked_fill index_add index_copy index_fill index_put scatter scatter_add addmm addmv baddbmm"
)

_WRITES = {
    "add_": inplace.arithmetic_write("add", np.add),
    "sub_": inplace.arithmetic_write("sub", np.subtract),
    "mul_": inplace.arithmetic_write("mul", np.multiply),
    "div_": inplace.div_,
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    "fill_diagonal_": inplace.fill_diagonal_,
    "clamp_min_": inplace.write(activations.clamp_min, "clamp_min_"),
    "clamp_max_": inplace.write(activations.clamp_max, "clamp_max_"),
    "__setitem__": inplace.setitem,
}
_WRITES |= {
    "__iadd__": _WRITES["add_"],
    "__isub__": _WRITES["sub_"],
    "__imul__": _WRITES["mul_"],
    "__itruediv__": _WRITES["div_"],
}


def attach() -> None:
    """Put operators and methods on the class."""
    for name in IN_PLACE.split():
        setattr(Tensor, f"{name}_", inplace.write(REGISTRY[name].function, f"{name}_"))
    setattr(Tensor, "__ipow__", Tensor.pow_)  # type: ignore[attr-defined]  # noqa: B010
    for name, function in (*_WRITES.items(), *conversions.CONVERSIONS.items(), *numpy_protocol.PROTOCOLS.items()):
        setattr(Tensor, name, function)
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    for name in " ".join(METHODS).split():
        setattr(Tensor, name, REGISTRY[name].function)
    for name, attribute in ALIASES.items():
        setattr(Tensor, name, attribute)
    for name, own in aliases.ALIASES.items():
        for ending in ("", "_"):
            if hasattr(Tensor, own + ending):
                setattr(Tensor, name + ending, getattr(Tensor, own + ending))


attach()
