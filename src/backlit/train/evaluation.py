"""Using a trained model: how good it is, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..creation import as_tensor
from ..errors import OperationError
from ..graph import no_grad
from ..tensor import Tensor
from ..utils.data import DataLoader, Dataset
from .choices import Loss, LossFunction, resolve_loss, resolve_metrics
from .metrics import Metric
from .native import Native, evaluation_step
from .rewind import rewound
from .sources import EVALUATION_BATCH, as_float, as_loader, model_dtype, unpack


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode, without recording; every module's own mode is restored afterwards."""
    with keeping_modes(model), no_grad():
        model.eval()
        yield


@contextmanager
def keeping_modes(model: Any) -> Iterator[None]:
    """Restore each module's train or eval mode at the end of the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def evaluate(
    model: Any,
    data: Any,
    *,
    loss: str | LossFunction | Loss | None = "cross_entropy",
    metrics: Iterable[str | Metric] = ("accuracy",),
    batch_size: int = EVALUATION_BATCH,
    compile: str | bool = "auto",
) -> dict[str, Any]:
    """Loss and metrics of a model on data, in evaluation mode and without gradients.

    Args:
        model: any ``nn.Module``.
        data: ``(inputs, targets)``, a Dataset or a DataLoader.
        loss: a name, a function of (output, target) that averages over the batch, or None to leave it out.
        metrics: names or :class:`~backlit.train.metrics.Metric` objects.
        batch_size: samples at a time; it changes the results by no more than rounding.
        compile: whether batches run as native code, as for :func:`~backlit.train.fit`.

    Returns:
        ``{"loss": …, "accuracy": …}``: means over samples. The model's train or eval modes are as before.

    Raises:
        OperationError: no data, or data that are no inputs and targets.
    """
    chosen = resolve_loss(loss) if loss is not None else Loss("none", _no_loss)
    native = Native(evaluation_step(model, chosen.function), compile, list(model.parameters()), lambda: rewound(model))
    loader = as_loader(data, model, batch_size)
    results = run_evaluation(model, loader, chosen, resolve_metrics(metrics, chosen), native)
    if loss is None:
        del results["loss"]
    return results


def run_evaluation(model: Any, loader: Any, loss: Loss, metrics: list[Metric], native: Native) -> dict[str, Any]:
    """As :func:`evaluate`, with everything resolved; ``native`` is what compiled batches go through."""
    total, count = 0.0, 0
    for metric in metrics:
        metric.reset()
    with evaluating(model):
        for batch in loader:
            inputs, target = unpack(batch)
            size = len(inputs[0])
            made = native.run((*inputs, target))
            if made is None:
                output = model(*inputs)
                made = loss.function(output, target), output
            value, output = made
            total += float(value) * size
            count += size
            for metric in metrics:
                metric.update(output, target)
    if not count:
        raise OperationError("evaluate: there are no samples.")
    return {"loss": total / count, **{metric.name: metric.compute() for metric in metrics}}


def _no_loss(output: Any, target: Any) -> float:
    return 0.0


def predict(model: Any, x: Any, *, batch_size: int = EVALUATION_BATCH, compile: str | bool = "auto") -> Tensor:
    """The model's outputs for inputs, in evaluation mode and without gradients.

    Args:
        model: any ``nn.Module`` whose output is a tensor with one row a sample.
        x: an array or a tensor of inputs; a tuple of them for a model with several; or a Dataset or DataLoader, of
            whose samples everything before the last part (the target) is used, or all, where there is one part.
        batch_size: samples at a time.
        compile: whether batches run as native code, as for :func:`~backlit.train.fit`.

    Returns:
        One tensor with the rows of all batches. The model's train or eval modes are as before.
    """
    with evaluating(model):
        native = Native(model, compile, list(model.parameters()), lambda: rewound(model))
        outputs = []
        for inputs in _inputs(x, model_dtype(model), batch_size):
            made = native.run(inputs)
            outputs.append((model(*inputs) if made is None else made)._data)
    if not outputs:
        raise OperationError("predict: there are no samples.")
    return Tensor(np.concatenate(outputs))


def _inputs(x: Any, dtype: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
    if isinstance(x, Dataset | DataLoader):
        for batch in x if isinstance(x, DataLoader) else DataLoader(x, batch_size):
            parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
            yield parts[:-1] if len(parts) > 1 else parts
        return
    parts = tuple(as_float(part, dtype) for part in (x if isinstance(x, tuple) else (as_tensor(x),)))
    for start in range(0, len(parts[0]), batch_size):
        yield tuple(Tensor(part._data[start : start + batch_size].copy()) for part in parts)
