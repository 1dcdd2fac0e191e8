"""``np.exp(t)``, ``np.sum(t)`` and the like on tensors: NumPy's functions handed to the library's own operations.

What is recorded stays recorded. A NumPy function without a counterpart raises and says what to do, rather than
returning an array that has silently left the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import mode
from ..source import describe, mark
from .definition import REGISTRY, Tensor, constant
from .elementwise import operand

# NumPy's name where it differs from the operation's.
_UFUNC_NAMES = {
    "negative": "neg",
    "absolute": "abs",
    "fabs": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "power": "pow",
    "float_power": "pow",
    "rint": "round",
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "invert": "bitwise_not",
    "mod": "remainder",
}

# NumPy functions whose arguments agree with the operation's, once axis, keepdims and ddof are renamed.
_SAME = [
    "sum",
    "mean",
    "prod",
    "std",
    "var",
    "cumsum",
    "cumprod",
    "argmax",
    "argmin",
    "any",
    "all",
    "sort",
    "argsort",
    "squeeze",
    "reshape",
    "transpose",
    "where",
    "stack",
    "repeat",
    "outer",
    "einsum",
    "trace",
    "clip",
    "take_along_axis",
    "amax",
    "amin",
    "max",
    "min",
    "expand_dims",
    "broadcast_to",
    "swapaxes",
    "moveaxis",
    "concatenate",
    "split",
    "vstack",
    "hstack",
    "ravel",
    "round",
    "linalg.norm",
]

_OTHER_NAMES = {
    "clip": "clamp",
    "expand_dims": "unsqueeze",
    "concatenate": "cat",
    "max": "amax",
    "min": "amin",
    "linalg.norm": "norm",
    "repeat": "repeat_interleave",
    "ravel": "flatten",
    "take_along_axis": "take_along_dim",
    "moveaxis": "movedim",
    "transpose": "permute",
    "swapaxes": "transpose",
    "split": "tensor_split",
}

_RENAMED = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction", "ord": "p"}


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``Tensor.__array_ufunc__``: an operation by NumPy's name; ``np.add.reduce`` and the like are not taken."""
    name = _UFUNC_NAMES.get(ufunc.__name__, ufunc.__name__)
    out = kwargs.pop("out", None)
    if out is not None and all(isinstance(o, np.ndarray) for o in out):
        raise UnsupportedError(
            f"np.{ufunc.__name__} at {describe(mark())}: cannot write a tensor's result into a NumPy array; "
            "drop out=, or use .detach().numpy()."
        )
    operation = REGISTRY.get(name)
    if method != "__call__" or operation is None or kwargs or out is not None:
        raise _unsupported(f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}"))
    return operation.function(*inputs)


def array_function(self: Tensor, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
    """``Tensor.__array_function__``: a function by NumPy's name, with NumPy's argument names."""
    handler = _handler(func)
    if handler is None:
        raise _unsupported(f"np.{func.__name__}")
    return handler(*args, **kwargs)


_handlers: dict[Any, Callable[..., Any] | None] = {}


def _handler(func: Any) -> Callable[..., Any] | None:
    if func not in _handlers:
        _handlers[func] = _SPECIAL.get(func) or _by_name(func)
    return _handlers[func]


def _by_name(func: Any) -> Callable[..., Any] | None:
    module = "linalg." if "linalg" in (func.__module__ or "") else ""
    name = module + func.__name__
    if name not in _SAME:
        return None
    operation = REGISTRY.get(_OTHER_NAMES.get(name, name))
    if operation is None:
        return None
    function = operation.function
    if name in ("std", "var"):
        return lambda x, axis=None, *, ddof=0, keepdims=False: function(x, axis, correction=ddof, keepdim=keepdims)
    if name == "sort":
        return lambda x, axis=-1, kind=None, *, stable=None: function(x, axis, stable=bool(stable or kind == "stable"))[
            0
        ]
    if name == "transpose":
        return lambda x, axes=None: function(x, axes if axes is not None else tuple(range(x.ndim))[::-1])

    def renamed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{_RENAMED.get(key, key): value for key, value in kwargs.items() if value is not None})

    return renamed


def _answer(question: Callable[[np.ndarray], Any]) -> Callable[..., Any]:
    """A question about values or shape that has no gradient."""
    return lambda x, *args, **kwargs: question(_values(x), *args, **kwargs)


def _values(x: Any) -> np.ndarray:
    """The values of an operand, for Python to see."""
    if mode.tracer is not None:
        mode.tracer.refuse("a NumPy question about values")
    return operand(x)._data


def _call(name: str, *args: Any) -> Any:
    return REGISTRY[name].function(*args)


def _dot(a: Any, b: Any) -> Any:
    """``np.dot``: the last dimension of ``a`` with the second last of ``b``; products with 0-d operands."""
    a, b = operand(a), operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return _call("tensordot", a, b, ([-1], [-min(2, b.ndim)]))


_SPECIAL: dict[Any, Callable[..., Any]] = {
    np.shape: _answer(np.shape),
    np.ndim: _answer(np.ndim),
    np.size: _answer(np.size),
    np.array_equal: lambda a, b, **kwargs: np.array_equal(_values(a), _values(b), **kwargs),
    np.allclose: lambda a, b, *args, **kwargs: np.allclose(_values(a), _values(b), *args, **kwargs),
    np.array2string: _answer(np.array2string),
    np.array_repr: _answer(np.array_repr),
    np.array_str: _answer(np.array_str),
    np.zeros_like: lambda x, dtype=None, **_: constant(np.zeros(x.shape, dtype or x.dtype)),
    np.ones_like: lambda x, dtype=None, **_: constant(np.ones(x.shape, dtype or x.dtype)),
    np.empty_like: lambda x, dtype=None, **_: Tensor(np.empty(x.shape, dtype or x.dtype)),
    np.copy: lambda x, **_: x.clone(),
    np.matmul: lambda a, b: REGISTRY["matmul"].function(a, b),
    np.dot: _dot,
    np.flip: lambda m, axis=None: _call("flip", m, tuple(range(m.ndim)) if axis is None else axis),
    np.roll: lambda a, shift, axis=None: _call("roll", a, shift, axis),
    np.tile: lambda A, reps: _call("tile", A, reps),
    np.diag: lambda v, k=0: _call("diag", v, k),
    np.tril: lambda m, k=0: _call("tril", m, k),
    np.triu: lambda m, k=0: _call("triu", m, k),
    np.tensordot: lambda a, b, axes=2: _call("tensordot", a, b, axes),
}


def _unsupported(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} at {describe(mark())}: no recorded counterpart for tensors. Use an operation of backlit, or leave the "
        "graph on purpose with x.detach().numpy()."
    )


PROTOCOLS = {"__array_ufunc__": array_ufunc, "__array_function__": array_function}
