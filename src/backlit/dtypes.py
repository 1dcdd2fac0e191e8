"""Element types, and PyTorch's rules for mixing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import OperationError

dtype = np.dtype

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
float16 = np.dtype(np.float16)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)

SUPPORTED: frozenset[np.dtype[Any]] = frozenset({float16, float32, float64, int8, int16, int32, int64, uint8, bool_})

_default = [float32]

# PyTorch's order of categories: a higher one wins whatever the widths within a lower one.
_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2}


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of tensors made from Python floats; float32 unless set."""
    return _default[0]


def set_default_dtype(new: Any) -> None:
    """Make Python floats become ``new`` (a floating dtype) from now on."""
    new = np.dtype(new)
    if new.kind != "f":
        raise OperationError(f"set_default_dtype: needs a floating dtype, got {new.name}.")
    _default[0] = new


def as_dtype(given: Any) -> np.dtype[Any]:
    """Check that a dtype is one Backlit stores, and return it as a NumPy dtype."""
    found = np.dtype(given)
    if found not in SUPPORTED:
        names = ", ".join(sorted(d.name for d in SUPPORTED))
        raise OperationError(f"dtype {found} is not supported; Backlit stores {names}. Convert it first.")
    return found


def is_floating(given: np.dtype[Any]) -> bool:
    """Whether a dtype can carry gradients."""
    return given.kind == "f"


def promote(a: np.dtype[Any], a_ndim: int, b: np.dtype[Any], b_ndim: int) -> np.dtype[Any]:
    """The dtype of an operation on two arrays, by PyTorch's rules.

    Within a category (bool < integer < float) arrays with dimensions outrank 0-d ones; a higher category always wins.
    So int64 with float32 gives float32, and a float32 matrix times a float64 0-d tensor stays float32.
    """
    if a == b:
        return a
    rank_a, rank_b = _CATEGORY[a.kind], _CATEGORY[b.kind]
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    if (a_ndim == 0) != (b_ndim == 0):
        return b if a_ndim == 0 else a
    return np.promote_types(a, b)


__all__ = [
    "dtype",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "int8",
    "int16",
    "int32",
    "int64",
    "set_default_dtype",
    "uint8",
]
