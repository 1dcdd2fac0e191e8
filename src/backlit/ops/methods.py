"""Operations as methods and operators of :class:`~backlit.tensor.Tensor`."""

from __future__ import annotations

from . import activations, arithmetic, cast, comparison, linalg, reduction, rounding, shape, transcendental
from .definition import Tensor

_OPERATORS = {
    "__add__": arithmetic.add,
    "__mul__": arithmetic.mul,
    "__sub__": arithmetic.sub,
    "__truediv__": arithmetic.div,
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
    "__radd__": lambda x, y: arithmetic.add(y, x),
    "__rmul__": lambda x, y: arithmetic.mul(y, x),
    "__rsub__": lambda x, y: arithmetic.sub(y, x),
    "__rtruediv__": lambda x, y: arithmetic.div(y, x),
    "__rpow__": lambda x, y: arithmetic.pow(y, x),
    "__rmatmul__": lambda x, y: linalg.matmul(y, x),
    "__rmod__": lambda x, y: arithmetic.remainder(y, x),
    "__rfloordiv__": lambda x, y: arithmetic.floor_divide(y, x),
    "__rand__": lambda x, y: comparison.bitwise_and(y, x),
    "__ror__": lambda x, y: comparison.bitwise_or(y, x),
}


def attach() -> None:
    """Put operators and methods on the class."""
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    for module in (activations, arithmetic, comparison, linalg, reduction, rounding, shape, transcendental):
        for name, function in vars(module).items():
            if callable(function) and not name.startswith("_") and not isinstance(function, type) and not hasattr(Tensor, name):
                setattr(Tensor, name, function)
    Tensor.astype = Tensor.to = cast.cast
    Tensor.T = property(shape.T)
    Tensor.mT = property(shape.mT)


attach()
