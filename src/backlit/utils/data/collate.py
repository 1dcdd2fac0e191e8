"""Turning a list of samples into one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...creation import as_tensor, tensor
from ...dtypes import float64
from ...errors import OperationError
from ...tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Put samples together: tensors, arrays and numbers are stacked along a new first dimension.

    Args:
        batch: samples of one structure. Dicts come back as dicts and tuples and lists as lists, of batches; strings
            and bytes as a list. Python floats become float64 and integers int64, as in PyTorch.

    Raises:
        OperationError: the samples differ in shape or structure, or hold something that cannot be stacked.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ['a', 'b']]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(batch)
    if isinstance(first, np.ndarray | np.generic):
        return tensor(_stacked_arrays(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([_entry(sample, key) for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        return _collate_sequences(first, batch)
    raise OperationError(
        f"default_collate: samples must hold tensors, arrays, numbers, strings, or dicts, lists and tuples of them; "
        f"got {type(first).__name__}. Pass a collate_fn of your own to the DataLoader."
    )


def default_convert(data: Any) -> Any:
    """Turn the arrays in a sample into tensors, and leave everything else as it is."""
    if isinstance(data, np.ndarray):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, list | tuple):
        return [default_convert(value) for value in data]
    return data


def _collate_sequences(first: Any, batch: Sequence[Any]) -> Any:
    if any(len(sample) != len(first) for sample in batch):
        raise OperationError("default_collate: the samples differ in length; give every sample the same parts.")
    parts = [default_collate(part) for part in zip(*batch, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else parts


def _entry(sample: Any, key: Any) -> Any:
    try:
        return sample[key]
    except (KeyError, TypeError) as error:
        raise OperationError(f"default_collate: a sample has no entry {key!r}, which the first one has.") from error


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    if any(t.requires_grad for t in tensors):
        from ...ops import stack

        return stack(list(tensors))
    return Tensor(_stacked_arrays([t._data for t in tensors]))


def _stacked_arrays(arrays: Sequence[Any]) -> np.ndarray:
    try:
        return np.stack(arrays)
    except ValueError as error:
        shapes = ", ".join(str(shape) for shape in dict.fromkeys(np.shape(a) for a in arrays))
        raise OperationError(
            f"default_collate: the samples have different shapes, {shapes}; pad them, or pass a collate_fn."
        ) from error
