"""Making tensors: from data, from NumPy, and filled with values."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes, memory
from .breadcrumbs import copied
from .errors import OperationError
from .source import describe, mark
from .tensor import Tensor
from .tensor import device as check_device


def tensor(data: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """A new tensor holding a copy of ``data``.

    Args:
        data: a number, nested sequences, a NumPy array or a tensor.
        dtype: the element type; by default that of an array, float32 for Python floats, int64 for integers, bool.
        device: only ``"cpu"``.
        requires_grad: record what is computed from it.

    Raises:
        OperationError: ragged sequences, or values that are not numbers.

    >>> import backlit as bl
    >>> bl.tensor([[1, 2], [3, 4]]).dtype
    dtype('int64')
    """
    check_device(device)
    out = Tensor(_array(data, dtype, copy=True))
    out._cut = copied(data)
    if requires_grad:
        out.start_requiring()
    return out


def as_tensor(data: Any, dtype: Any = None, device: Any = "cpu") -> Tensor:
    """``data`` as a tensor, sharing memory where possible (an array of the right dtype, or a tensor)."""
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype == np.dtype(dtype) else data.to(dtype)
    array = _array(data, dtype, copy=False)
    out = Tensor(array)
    out._cut = copied(data)
    if isinstance(data, np.ndarray) and np.may_share_memory(array, data):
        out.storage().expose(mark(), saved=False)
    return out


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with ``array``; writes to either are seen by both.

    Raises:
        OperationError: not an array, or of a dtype that Backlit does not store.
    """
    if not isinstance(array, np.ndarray):
        raise OperationError(f"from_numpy: needs a NumPy array, got {type(array).__name__}; use backlit.tensor.")
    dtypes.as_dtype(array.dtype)
    return as_tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares memory with anything that speaks DLPack (PyTorch, JAX, CuPy on the host ...)."""
    array = np.from_dlpack(source)
    dtypes.as_dtype(array.dtype)
    return as_tensor(array)


def _array(data: Any, dtype: Any, copy: bool) -> np.ndarray:
    if isinstance(data, Tensor):
        data = data._data
    if isinstance(data, (np.ndarray, np.generic)):
        kept = dtypes.as_dtype(data.dtype if dtype is None else dtype)
        return memory.copied(np.asarray(data), kept) if copy else np.asarray(data, dtype=kept)
    if isinstance(data, (list, tuple)):
        data = _plain(data)
    try:
        array = np.array(data, dtype=None if dtype is None else dtypes.as_dtype(dtype))
    except (ValueError, TypeError) as error:
        raise OperationError(
            f"tensor at {describe(mark())}: the data is not a regular array of numbers ({error})."
        ) from error
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise OperationError(f"tensor at {describe(mark())}: the data holds {array.dtype}, which are not numbers.")
    if dtype is None:
        if array.dtype.kind == "f":
            array = array.astype(dtypes.get_default_dtype(), copy=False)
        elif array.dtype.kind in "iu":
            array = array.astype(dtypes.int64, copy=False)
    return array


def _plain(data: Any) -> Any:
    """Nested sequences with the tensors in them as arrays; arrays keep their dtype through NumPy's promotion."""
    if isinstance(data, Tensor):
        return data._data
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def _shape(size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    return tuple(int(n) for n in size)


def _finish(array: np.ndarray, requires_grad: bool) -> Tensor:
    out = Tensor(array)
    if requires_grad:
        out.start_requiring()
    return out


def _floating(dtype: Any) -> np.dtype[Any]:
    return dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)


def zeros(*size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    check_device(device)
    return _finish(memory.zeros(_shape(size), _floating(dtype)), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    check_device(device)
    return _finish(memory.full(_shape(size), 1, _floating(dtype)), requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor whose contents are whatever was in memory; write before you read."""
    check_device(device)
    return _finish(memory.empty(_shape(size), _floating(dtype)), requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of one repeated value."""
    check_device(device)
    size = size if isinstance(size, (tuple, list)) else (size,)
    return _finish(memory.full(_shape(size), fill_value, _array(fill_value, dtype, copy=True).dtype), requires_grad)


def zeros_like(
    like: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Zeros with another tensor's shape and dtype; the memory is always in order, whatever ``memory_format``."""
    return zeros(like.shape, dtype=dtype or like.dtype, device=device, requires_grad=requires_grad)


def ones_like(
    like: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Ones with another tensor's shape and dtype; the memory is always in order, whatever ``memory_format``."""
    return ones(like.shape, dtype=dtype or like.dtype, device=device, requires_grad=requires_grad)


def empty_like(
    like: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """An uninitialised tensor with another tensor's shape and dtype; the memory is always in order."""
    return empty(like.shape, dtype=dtype or like.dtype, device=device, requires_grad=requires_grad)


def full_like(
    like: Any,
    fill_value: Any,
    dtype: Any = None,
    device: Any = "cpu",
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """One repeated value with another tensor's shape and dtype; the memory is always in order."""
    return full(like.shape, fill_value, dtype=dtype or like.dtype, device=device, requires_grad=requires_grad)


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Tensor:
    """Evenly spaced values from ``start`` up to but not including ``end``."""
    check_device(device)
    if end is None:
        start, end = 0, start
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0 or (end - start) * step < 0:
        raise OperationError(
            f"arange at {describe(mark())}: steps of {step} never lead from {start} to {end}; change the step's sign."
        )
    return _finish(np.arange(start, end, step).astype(dtype), requires_grad)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def linspace(
    start: Any, end: Any, steps: int, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end`` (numbers or 0-d tensors), both included."""
    check_device(device)
    return _finish(np.linspace(_number(start), _number(end), steps).astype(_floating(dtype)), requires_grad)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, dtype: Any = None, device: Any = "cpu") -> Tensor:
    """``base`` to the power of ``steps`` evenly spaced exponents."""
    check_device(device)
    exponents = np.linspace(_number(start), _number(end), steps)
    return Tensor(np.power(float(base), exponents).astype(_floating(dtype)))


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Tensor:
    """The identity matrix (``n`` rows, ``m`` columns)."""
    check_device(device)
    return _finish(np.eye(n, m, dtype=_floating(dtype)), requires_grad)


__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]
