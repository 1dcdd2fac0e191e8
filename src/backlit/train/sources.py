"""What users pass as data, made into a loader."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..creation import as_tensor
from ..datasets import Data
from ..errors import OperationError
from ..tensor import Tensor
from ..utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from ..utils.data.seeds import pass_rng

EVALUATION_BATCH = 256


def as_dataset(data: Any, model: Any) -> Any:
    """Arrays or tensors ``(x, y)``, or a :class:`~backlit.datasets.Data` (its training part), as a data set.

    Floating arrays are converted to the dtype of the model's parameters; anything else stays as it is.
    """
    if isinstance(data, Data):
        if data.pixel_max is not None:
            raise OperationError(f"fit: {data.name} holds raw pixels; pass data.scaled(), or normalize(data).")
        data = (data.x_train, data.y_train)
    if isinstance(data, tuple | list):
        if len(data) < 2 or not all(hasattr(part, "shape") for part in data):
            raise OperationError("fit: give data as (inputs, targets), arrays or tensors with one row a sample.")
        return TensorDataset(*(as_float(part, model_dtype(model)) for part in data))
    if not isinstance(data, IterableDataset) and not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise OperationError(
            f"fit: data must be (inputs, targets), a Dataset or a DataLoader, got {type(data).__name__}."
        )
    return data


def as_loader(data: Any, model: Any, batch_size: int = EVALUATION_BATCH) -> Any:
    """Data to be looked at in order: a loader as it is, anything else in batches."""
    if isinstance(data, Data):
        raise OperationError(
            f"{data.name} has a training and a test part; say which one is meant: (data.x_test, data.y_test)."
        )
    return data if isinstance(data, DataLoader) else DataLoader(as_dataset(data, model), batch_size)


def training_loader(dataset: Any, batch_size: int | str | None, shuffle: bool | None, generator: Any) -> DataLoader:
    """The loader of a training run; ``batch_size`` None or ``"full"`` is all samples at once, in order."""
    if batch_size in (None, "full"):
        if isinstance(dataset, IterableDataset):
            raise OperationError("fit: a stream has no full batch; give a batch_size.")
        return DataLoader(dataset, max(1, len(dataset)), shuffle=bool(shuffle), generator=generator)
    if isinstance(batch_size, str):
        raise OperationError(f"fit: batch_size must be a whole number, None or 'full', got {batch_size!r}.")
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, batch_size, shuffle=shuffle, generator=generator)
    return DataLoader(dataset, batch_size, shuffle=shuffle is None or shuffle, generator=generator)


def split(dataset: Any, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """A random part of the samples for validation, and the rest for training."""
    if isinstance(dataset, DataLoader | IterableDataset):
        raise OperationError(
            "fit: validation_split needs arrays or a Dataset; pass validation= with a loader or stream."
        )
    count = round(len(dataset) * fraction)
    if not 0 < fraction < 1 or not 0 < count < len(dataset):
        raise OperationError(
            f"fit: validation_split={fraction} of {len(dataset)} samples leaves a part empty; "
            "give a fraction between 0 and 1."
        )
    order = pass_rng(seed).permutation(len(dataset))
    return Subset(dataset, order[count:]), Subset(dataset, order[:count])


def model_dtype(model: Any) -> Any:
    """The dtype of the model's first floating parameter, or None."""
    return next((p.dtype for p in model.parameters() if p.dtype.kind == "f"), None)


def as_float(values: Any, dtype: Any) -> Tensor:
    """A tensor, converted to ``dtype`` where it holds floating numbers of another."""
    array = values._data if isinstance(values, Tensor) else np.asarray(values)
    if dtype is not None and array.dtype.kind == "f" and array.dtype != dtype:
        return Tensor(array.astype(dtype))
    return as_tensor(values)


def unpack(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """A batch as (inputs, target): the last part is the target, everything before it goes into the model."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise OperationError(
            f"a batch must be (inputs, targets), got {type(batch).__name__}; "
            "make the data set's samples tuples, with the target last."
        )
    return tuple(batch[:-1]), batch[-1]


def largest_product(loader: Any, parameters: list[Any]) -> int:
    """About how many multiplications a batch's largest matrix product has; very many where that cannot be told.

    Each row of a sample meets each weight once. Kernels (weights of more than two dimensions) meet every pixel. No
    sample is looked at, for that may draw random numbers.
    """
    size = getattr(loader, "batch_size", None)
    dataset = getattr(loader, "dataset", None)
    while dataset is not None and not hasattr(dataset, "tensors"):
        dataset = getattr(dataset, "dataset", None)
    if dataset is None or not size or any(p.ndim > 2 for p in parameters):
        return 1 << 62
    shape = dataset.tensors[0].shape
    rows = min(size, shape[0]) * math.prod(shape[1:-1])
    return rows * max((p.numel() for p in parameters if p.ndim == 2), default=0)
