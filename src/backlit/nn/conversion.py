"""Changing the dtype of a module's tensors in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from ..tensor import device as check_device


def dtype_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> np.dtype[Any] | None:
    """Read the arguments of :meth:`Module.to`; devices are checked and dropped."""
    unknown = set(kwargs) - {"dtype", "device", "non_blocking", "copy", "memory_format"}
    if unknown:
        raise TypeError(f"Module.to: unexpected arguments {', '.join(sorted(unknown))}.")
    if kwargs.get("device") is not None:
        check_device(kwargs["device"])
    dtype = kwargs.get("dtype")
    for given in args:
        if isinstance(given, Tensor):
            dtype = given.dtype
        elif isinstance(given, (np.dtype, type)):
            dtype = given
        elif given is not None and not isinstance(given, bool):
            check_device(given)
    return None if dtype is None else dtypes.as_dtype(dtype)


def convert(tensor: Tensor, dtype: np.dtype[Any]) -> None:
    if tensor.dtype.kind == "f" and tensor.dtype != dtype:
        gradient = tensor.grad
        tensor.grad = None
        tensor.data = tensor._data.astype(dtype)  # type: ignore[assignment]
        tensor.grad = None if gradient is None else Tensor(gradient._data.astype(dtype))
