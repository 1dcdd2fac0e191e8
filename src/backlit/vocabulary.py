"""Constants, questions and older spellings that PyTorch programs find under ``torch.``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import dtypes
from .creation import as_tensor, empty, tensor
from .errors import OperationError
from .ops.conversions import is_floating_point, numel
from .source import describe, mark
from .tensor import Tensor

pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
newaxis = None
Size = tuple
"""Shapes are plain tuples: ``torch.Size([2, 3])`` makes one, and ``isinstance(x.shape, torch.Size)`` holds."""
strided = "strided"
contiguous_format, preserve_format = "contiguous_format", "preserve_format"
"""The only memory layouts, and what new tensors have anyway."""


class FloatInfo(NamedTuple):
    """The limits of a floating dtype, as Python numbers."""

    dtype: str
    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float


class IntInfo(NamedTuple):
    """The limits of an integer dtype."""

    dtype: str
    bits: int
    max: int
    min: int


def finfo(type: Any = None) -> FloatInfo:
    """The limits of a floating dtype (the default one).

    >>> finfo(dtypes.float32).eps
    1.1920928955078125e-07
    """
    dtype = dtypes.get_default_dtype() if type is None else dtypes.as_dtype(type)
    if dtype.kind != "f":
        raise OperationError(f"finfo at {describe(mark())}: {dtype.name} is not a floating dtype; use iinfo.")
    found = np.finfo(dtype)
    names = ("eps", "max", "min", "tiny", "smallest_normal", "resolution")
    return FloatInfo(dtype.name, found.bits, *(float(getattr(found, name)) for name in names))


def iinfo(type: Any) -> IntInfo:
    """The limits of an integer dtype."""
    dtype = dtypes.as_dtype(type)
    if dtype.kind not in "iu":
        raise OperationError(f"iinfo at {describe(mark())}: {dtype.name} is not an integer dtype; use finfo.")
    found = np.iinfo(dtype)
    return IntInfo(dtype.name, found.bits, int(found.max), int(found.min))


def is_tensor(obj: Any) -> bool:
    """Whether this is a tensor."""
    return isinstance(obj, Tensor)


def is_complex(input: Tensor) -> bool:
    """False: there are no complex tensors."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of a tensor is not 0."""
    return bool(input)


def asarray(obj: Any, *, dtype: Any = None, device: Any = "cpu", copy: bool | None = None) -> Tensor:
    """As :func:`backlit.as_tensor`; ``copy=True`` never shares memory."""
    return tensor(obj, dtype, device) if copy else as_tensor(obj, dtype, device)


def promote_types(type1: Any, type2: Any) -> np.dtype[Any]:
    """The dtype that values of both dtypes get when they meet."""
    return dtypes.promote(dtypes.as_dtype(type1), 1, dtypes.as_dtype(type2), 1)


def result_type(tensor1: Any, tensor2: Any) -> np.dtype[Any]:
    """The dtype of an operation on two tensors (or a tensor and a number)."""
    from .ops.elementwise import match

    return (
        (as_tensor(tensor1) + as_tensor(tensor2)).dtype
        if _numbers(tensor1, tensor2)
        else match(tensor1, tensor2)[0].dtype
    )


def _numbers(*values: Any) -> bool:
    return not any(hasattr(value, "dtype") for value in values)


def can_cast(from_: Any, to: Any) -> bool:
    """Whether values may be written into a tensor of another dtype: not from a higher kind (bool, integer, float)."""
    order = "biuf"
    kinds = ["i" if dtypes.as_dtype(given).kind == "u" else dtypes.as_dtype(given).kind for given in (from_, to)]
    return order.index(kinds[0]) <= order.index(kinds[1])


def _typed(name: str, dtype: np.dtype[Any]) -> Any:
    def make(*data: Any) -> Tensor:
        if not data:
            return empty(0, dtype=dtype)
        if all(isinstance(n, int) for n in data):
            return empty(*data, dtype=dtype)
        return tensor(data[0], dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f"A {dtype.name} tensor from data, or of the given sizes and uninitialised; ``tensor`` is the newer way."
    )
    return make


FloatTensor = _typed("FloatTensor", dtypes.float32)
DoubleTensor = _typed("DoubleTensor", dtypes.float64)
HalfTensor = _typed("HalfTensor", dtypes.float16)
IntTensor = _typed("IntTensor", dtypes.int32)
LongTensor = _typed("LongTensor", dtypes.int64)
ShortTensor = _typed("ShortTensor", dtypes.int16)
CharTensor = _typed("CharTensor", dtypes.int8)
ByteTensor = _typed("ByteTensor", dtypes.uint8)
BoolTensor = _typed("BoolTensor", dtypes.bool_)

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "Size",
    "asarray",
    "can_cast",
    "contiguous_format",
    "e",
    "finfo",
    "iinfo",
    "inf",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_tensor",
    "nan",
    "newaxis",
    "numel",
    "pi",
    "preserve_format",
    "promote_types",
    "result_type",
    "strided",
]
