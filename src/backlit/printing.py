"""Tensors as text."""

from __future__ import annotations

from typing import Any

import numpy as np


def tensor_repr(tensor: Any) -> str:
    """``tensor([...], dtype=float64, grad_fn=<add at train.py:3: …>)``; large ones are summarised."""
    text = np.array2string(tensor._data, separator=", ", prefix="tensor(", precision=4, threshold=1000, edgeitems=3)
    notes = []
    if tensor._data.size > 1000 or tensor._data.size == 0:
        notes.append(f"shape={tensor.shape}")
    if tensor._data.dtype.name not in ("float32", "int64", "bool"):
        notes.append(f"dtype={tensor._data.dtype.name}")
    if tensor.grad_fn is not None:
        notes.append(f"grad_fn={tensor.grad_fn!r}")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return f"tensor({', '.join([text, *notes])})"
