"""What users pass as a batch and as a loss, as checks need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...tensor import Tensor
from ...train.choices import resolve_loss
from ...train.sources import as_float, model_dtype, unpack
from ..faults import finding
from ..finding import Finding

Inputs = tuple[Tensor, ...]
LossFunction = Callable[[Any, Any], Tensor]


def as_batch(model: Any, batch: Any) -> tuple[Inputs, Tensor]:
    """``(inputs, target)`` of a batch ``(x, …, target)`` of arrays or tensors; floating inputs in the model's dtype."""
    inputs, target = unpack(batch)
    dtype = model_dtype(model)
    return tuple(as_float(part, dtype) for part in inputs), as_float(target, dtype)


def rows(inputs: Inputs, target: Tensor, start: int, stop: int) -> tuple[Inputs, Tensor]:
    """Some rows of a batch."""
    return tuple(Tensor(part._data[start:stop].copy()) for part in inputs), Tensor(target._data[start:stop].copy())


def frozen(model: Any) -> list[Finding]:
    """What is said of a model that cannot learn because no parameter requires gradients."""
    count = sum(1 for _ in model.parameters())
    return [finding("frozen_parameters", f"None of the {count} parameters requires a gradient.", "model", 0.97)]


def loss_of(loss: Any) -> LossFunction:
    """A loss given by name or as a function of (output, target)."""
    return resolve_loss(loss).function
