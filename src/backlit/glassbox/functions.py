"""The functions and operators an expression may use, each a public operation of the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ..errors import OperationError
from ..ops.definition import REGISTRY
from ..tensor import Tensor


@dataclass(frozen=True)
class Function:
    """How many arguments a function takes (``most`` None: any number) and what computes it."""

    compute: Callable[..., Any]
    least: int = 1
    most: int | None = 1


def _operation(name: str, **settings: Any) -> Callable[..., Any]:
    """The registered operation, looked up when it is used."""
    return lambda *arguments: REGISTRY[name].function(*arguments, **settings)


def _extreme(pair: str, whole: str) -> Callable[..., Any]:
    """``max(x, y, ...)`` takes the larger value element by element; ``max(x)`` the largest element."""

    def compute(*arguments: Any) -> Any:
        if len(arguments) == 1:
            return REGISTRY[whole].function(arguments[0])
        return reduce(REGISTRY[pair].function, arguments)

    return compute


def _cross_entropy(scores: Tensor, target: Any) -> Tensor:
    """A target of the scores' shape holds probabilities; one dimension fewer, class numbers."""
    target = _array_of(target)
    if target.ndim == scores.ndim - 1:
        classes = target._data
        if np.any(classes != np.rint(classes)) or np.any(classes < 0) or np.any(classes >= scores.shape[-1]):
            raise OperationError(f"class numbers must be whole and from 0 to {scores.shape[-1] - 1}")
        target = Tensor(classes.astype(np.int64))
    elif target.shape != scores.shape:
        raise OperationError(
            "the target needs the scores' shape (probabilities) or one dimension fewer (class numbers)"
        )
    return REGISTRY["cross_entropy"].function(scores, target)


def _mse(prediction: Any, target: Any) -> Tensor:
    prediction, target = _array_of(prediction), _array_of(target)
    if prediction.shape != target.shape:
        raise OperationError("prediction and target need the same shape")
    return REGISTRY["mse_loss"].function(prediction, target)


def _transpose(matrix: Tensor) -> Tensor:
    return REGISTRY["permute"].function(matrix, tuple(range(matrix.ndim))[::-1])


def _array_of(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value, np.float64))


FUNCTIONS: dict[str, Function] = {
    "+": Function(_operation("add"), 2, 2),
    "-": Function(_operation("sub"), 2, 2),
    "*": Function(_operation("mul"), 2, 2),
    "/": Function(_operation("div"), 2, 2),
    "**": Function(_operation("pow"), 2, 2),
    "@": Function(_operation("matmul"), 2, 2),
    "matmul": Function(_operation("matmul"), 2, 2),
    "dot": Function(_operation("dot"), 2, 2),
    "transpose": Function(_transpose),
    **{
        name: Function(_operation(name))
        for name in ("neg", "sigmoid", "relu", "exp", "log", "sqrt", "tanh", "sin", "cos", "abs", "sum", "mean", "norm")
    },
    "max": Function(_extreme("maximum", "max"), 1, None),
    "min": Function(_extreme("minimum", "min"), 1, None),
    "softmax": Function(_operation("softmax", dim=-1)),
    "log_softmax": Function(_operation("log_softmax", dim=-1)),
    "cross_entropy": Function(_cross_entropy, 2, 2),
    "mse": Function(_mse, 2, 2),
}

NEEDS_TENSOR = frozenset({"cross_entropy", "mse", "transpose"})
