"""The functions and operators that a formula may use, each a public operation of the library.

Which arguments are values and which are settings follows from the operation's own signature; this file says which
operations make sense in a formula, and under what names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np

from ...errors import OperationError
from ...ops.definition import REGISTRY
from ...tensor import Tensor

CONSTANTS = {"pi": np.pi}
"""Names that have a value unless another is given."""

_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow", "@": "matmul", "neg": "neg"}

_OPERATIONS = (
    *("abs", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "square", "reciprocal"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid"),
    *("logsigmoid", "logit", "softplus", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu"),
    *("mish", "hardtanh", "hardsigmoid", "hardswish", "erf", "erfc", "erfinv", "sinc", "clamp", "pow"),
    *("atan2", "maximum", "minimum", "logaddexp", "xlogy", "lerp", "sum", "mean", "var", "std", "prod", "amax"),
    *("amin", "median", "logsumexp", "norm", "cumsum", "cumprod", "matmul", "dot", "outer", "linear"),
    *("trace", "diag", "tril", "triu", "flatten", "squeeze", "unsqueeze", "softmax", "log_softmax"),
    *("softmin", "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss"),
    *("huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
    *("kl_div", "hinge_loss", "soft_margin_loss", "layer_norm", "rms_norm"),
    "scaled_dot_product_attention",
)

_SHORT = {
    "mse": "mse_loss",
    "l1": "l1_loss",
    "huber": "huber_loss",
    "hinge": "hinge_loss",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "attention": "scaled_dot_product_attention",
}

_VALUES = frozenset(
    {"x", "y", "a", "b", "input", "target", "weight", "bias", "exponent", "other", "query", "key", "value"}
)
"""Parameters that take values; all others take settings."""

_OUT_OF_USE = frozenset(
    {"size_average", "reduce", "dtype", "axis", "keepdims", "pos_weight", "attn_mask", "dropout_p", "enable_gqa"}
)
"""Parameters that a formula has no use for."""

_NUMBERS_TOO = frozenset({*_OPERATORS, "pow", "maximum", "minimum", "max", "min", "atan2", "logaddexp", "xlogy"})
"""Functions that take plain numbers as well, which stay constants of the operation (``x**2`` is a square)."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a function: a value, or a setting that is written as a constant."""

    name: str
    setting: bool
    required: bool


@dataclass(frozen=True)
class Function:
    """What computes a function, and its parameters; with ``rest``, any number of values may follow."""

    compute: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    rest: bool = False
    numbers: bool = False

    @property
    def least(self) -> int:
        """How many arguments there must be."""
        return sum(parameter.required for parameter in self.parameters)

    @property
    def most(self) -> int | None:
        """How many arguments there may be; None for any number."""
        return None if self.rest else len(self.parameters)


class _Functions(Mapping[str, Function]):
    """Every function by name, each made when it is first asked for."""

    def __getitem__(self, name: str) -> Function:
        return _function(name)

    def __iter__(self) -> Any:
        return iter({**_OPERATORS, **_OWN, **dict.fromkeys(_OPERATIONS), **_SHORT, "[]": None})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def words() -> list[str]:
    """The functions that can be called by name, in alphabetical order."""
    return sorted(name for name in FUNCTIONS if name.isidentifier() and name != "neg")


@cache
def _function(name: str) -> Function:
    if name == "[]":
        return Function(_index, (Parameter("x", False, True), Parameter("index", True, True)))
    if name in _OWN:
        compute = _OWN[name]
    elif name in _OPERATORS or name in _SHORT or name in _OPERATIONS:
        compute = REGISTRY[_OPERATORS.get(name) or _SHORT.get(name) or name].function
    else:
        raise KeyError(name)
    kinds = inspect.signature(compute).parameters.values()
    return Function(
        compute,
        tuple(
            Parameter(p.name, p.name not in _VALUES, p.default is p.empty)
            for p in kinds
            if p.kind is not p.VAR_POSITIONAL and p.name not in _OUT_OF_USE
        ),
        rest=any(p.kind is p.VAR_POSITIONAL for p in kinds),
        numbers=name in _NUMBERS_TOO,
    )


# -- functions that are more than one operation, or have other defaults ------------------------------------------------


def _index(x: Tensor, index: tuple[int | slice, ...]) -> Tensor:
    return x[index]


def _maximum(x: Any, *others: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """``max(x, y, ...)`` takes the larger value element by element; ``max(x)`` and ``max(x, dim=0)`` the largest."""
    return _extreme("maximum", "max", "amax", x, others, dim, keepdim)


def _minimum(x: Any, *others: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    return _extreme("minimum", "min", "amin", x, others, dim, keepdim)


def _extreme(pair: str, whole: str, along: str, x: Any, others: Any, dim: int | None, keepdim: bool) -> Any:
    if others and dim is not None:
        raise OperationError("dim belongs to a single value, as in max(x, dim=0)")
    if others:
        return reduce(REGISTRY[pair].function, others, x)
    return REGISTRY[whole].function(x) if dim is None else REGISTRY[along].function(x, dim, keepdim)


def _along_last(name: str) -> Callable[..., Any]:
    """An operation that goes along the last dimension, unless another is named."""

    def compute(x: Tensor, dim: int | None = None) -> Tensor:
        return REGISTRY[name].function(x, -1 if dim is None else dim)

    return compute


def _logsumexp(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return REGISTRY["logsumexp"].function(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)


def _layer_norm(x: Tensor, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Over the last dimension."""
    _require_dimension(x)
    return REGISTRY["layer_norm"].function(x, x.shape[-1:], weight, bias, eps)


def _rms_norm(x: Tensor, weight: Any = None, eps: float | None = None) -> Tensor:
    """Over the last dimension."""
    _require_dimension(x)
    return REGISTRY["rms_norm"].function(x, x.shape[-1:], weight, eps)


def _require_dimension(x: Tensor) -> None:
    if not x.ndim:
        raise OperationError("it is taken along the last dimension, and a number has none")


def _transpose(x: Tensor, dim0: int | None = None, dim1: int | None = None) -> Tensor:
    """All dimensions in reverse, or two of them exchanged."""
    if dim0 is None or dim1 is None:
        return REGISTRY["permute"].function(x, tuple(range(x.ndim))[::-1])
    return REGISTRY["transpose"].function(x, dim0, dim1)


def _reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return REGISTRY["reshape"].function(x, shape)


def _cross_entropy(input: Tensor, target: Tensor, weight: Any = None, label_smoothing: float = 0.0) -> Tensor:
    """A target of the scores' shape holds probabilities; one dimension fewer, class numbers."""
    if target.ndim == input.ndim - 1:
        target = _classes(input, target)
    elif target.shape != input.shape:
        raise OperationError(
            "the target needs the scores' shape (probabilities) or one dimension fewer (class numbers)"
        )
    return REGISTRY["cross_entropy"].function(input, target, weight, label_smoothing=label_smoothing)


def _nll_loss(input: Tensor, target: Tensor, weight: Any = None) -> Tensor:
    return REGISTRY["nll_loss"].function(input, _classes(input, target), weight)


def _classes(scores: Tensor, target: Tensor) -> Tensor:
    _require_dimension(scores)
    given, count = target._data, scores.shape[-1 if scores.ndim == 1 else 1]
    if np.any(given != np.rint(given)) or np.any(given < 0) or np.any(given >= count):
        raise OperationError(f"class numbers must be whole and from 0 to {count - 1}")
    return Tensor(given.astype(np.int64))


_OWN: dict[str, Callable[..., Any]] = {
    "max": _maximum,
    "min": _minimum,
    **{name: _along_last(name) for name in ("softmax", "log_softmax", "softmin", "cumsum", "cumprod")},
    "logsumexp": _logsumexp,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "transpose": _transpose,
    "reshape": _reshape,
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
}

FUNCTIONS = _Functions()
