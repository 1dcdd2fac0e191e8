"""New arrays that begin where a cache line does.

NumPy's begin 16 bytes behind one as a rule, so that half of all vectors of a row lie in two lines. Compiled steps read
and write weights, optimizer state and batches at the speed of memory: they take 2 to 5 % longer then.
"""

from __future__ import annotations

import sys
from ctypes import c_void_p
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a cache line."""

_SMALL = 4096  # bytes below which it would cost more than it saves


def empty(shape: Any, dtype: DTypeLike) -> NDArray[Any]:
    """An array whose contents are whatever was in memory, row after row."""
    return _begun(np.empty, shape, dtype)


def zeros(shape: Any, dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros; the system gives large ones their memory when they are first written to."""
    return _begun(np.zeros, shape, dtype)


def full(shape: Any, value: Any, dtype: DTypeLike) -> NDArray[Any]:
    """An array of one repeated value."""
    made = empty(shape, dtype)
    made[...] = value
    return made


def copied(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """A copy, with its elements in the order in which they lie."""
    if array.nbytes < _SMALL or not array.flags.c_contiguous:
        return np.array(array, dtype=dtype)
    made = empty(array.shape, dtype)
    made[...] = array
    return made


def rows_of(array: NDArray[Any], indices: NDArray[Any]) -> NDArray[Any]:
    """``array.take(indices, 0)``; raises the same errors."""
    count = len(array)
    if not indices.size or indices.min() < -count or indices.max() >= count:
        return array.take(indices, 0)
    made = empty((*indices.shape, *array.shape[1:]), array.dtype)
    return array.take(indices, 0, out=made, mode="wrap")  # with "raise", NumPy would copy everything once more


def address(array: NDArray[Any]) -> int:
    """Where an array's first element lies."""
    if _IS_A_FIELD and isinstance(array, np.ndarray):
        return _pointer(id(array) + _FIELD).value or 0
    return _asked(array)


def _asked(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


_pointer = c_void_p.from_address
_FIELD = object.__basicsize__
"""Where an array's own field for it lies: the first behind those of all Python objects, by NumPy's binary interface.
Asking NumPy takes ten times as long: 3 us, and a call of a compiled step with a new batch needs two."""


def _is_a_field() -> bool:
    """Whether this Python and this NumPy lay out their objects so."""
    if sys.implementation.name != "cpython":  # where an id is no address
        return False
    whole = np.arange(3)
    return all(_pointer(id(part) + _FIELD).value == _asked(part) for part in (whole, whole[1:]))


_IS_A_FIELD = _is_a_field()


def _begun(make: Any, shape: Any, dtype: DTypeLike) -> NDArray[Any]:
    kind = np.dtype(dtype)
    sizes = (int(shape),) if np.ndim(shape) == 0 else tuple(map(int, shape))
    size = kind.itemsize
    for n in sizes:
        size *= n
    if size < _SMALL:
        return make(sizes, kind)  # type: ignore[no-any-return]
    space = make(size + LINE, np.uint8)
    start = -address(space) % LINE
    return space[start : start + size].view(kind).reshape(sizes)  # type: ignore[no-any-return]


__all__ = ["LINE", "address", "copied", "empty", "full", "rows_of", "zeros"]
