"""Losses, optimizers and metrics chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import OperationError
from ..spelling import did_you_mean
from .metrics import METRICS, BinaryAccuracy, Metric

LossFunction = Callable[[Any, Any], Any]


class Loss(NamedTuple):
    """A loss: its name, the function of (output, target), and where its outputs part two classes, if they do."""

    name: str
    function: LossFunction
    threshold: float | None = None


class _Named(NamedTuple):
    """A function of ``nn.functional``; ``by_element`` compares outputs and targets entry by entry."""

    function: str
    by_element: bool = False
    threshold: float | None = None


LOSSES = {
    "cross_entropy": _Named("cross_entropy"),
    "nll": _Named("nll_loss"),
    "mse": _Named("mse_loss", True),
    "l1": _Named("l1_loss", True),
    "mae": _Named("l1_loss", True),
    "smooth_l1": _Named("smooth_l1_loss", True),
    "huber": _Named("huber_loss", True),
    "bce": _Named("binary_cross_entropy", True, 0.5),
    "binary_cross_entropy": _Named("binary_cross_entropy", True, 0.5),
    "bce_with_logits": _Named("binary_cross_entropy_with_logits", True, 0.0),
    "binary_cross_entropy_with_logits": _Named("binary_cross_entropy_with_logits", True, 0.0),
}
"""The losses that have a name. All take the mean over a batch."""

OPTIMIZERS = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
}
"""The optimizers that have a name, each with PyTorch's defaults."""


def resolve_loss(loss: str | LossFunction | Loss) -> Loss:
    """A loss given by name, or any function of (output, target) that gives a 0-d tensor."""
    if isinstance(loss, Loss):
        return loss
    if callable(loss):
        return Loss(getattr(loss, "__name__", type(loss).__name__), loss)
    _check_name("loss", loss, LOSSES)
    from ..nn import functional

    named = LOSSES[loss]
    function = getattr(functional, named.function)
    return Loss(loss, _by_element(function) if named.by_element else function, named.threshold)


def _by_element(function: LossFunction) -> LossFunction:
    """The same loss for targets that lack a last dimension of 1, or that are whole numbers."""

    def paired(output: Any, target: Any) -> Any:
        if target.ndim + 1 == output.ndim and output.shape[-1] == 1:
            target = target[..., None]
        return function(output, target if target.dtype.kind == "f" else target.to(output.dtype))

    return paired


def resolve_optimizer(optimizer: Any, model: Any, lr: float | None, weight_decay: float | None) -> Any:
    """An optimizer given by name, as a function of the parameters, or as it is."""
    options = {k: v for k, v in (("lr", lr), ("weight_decay", weight_decay)) if v is not None}
    if isinstance(optimizer, str):
        from .. import optim

        _check_name("optimizer", optimizer, OPTIMIZERS)
        return getattr(optim, OPTIMIZERS[optimizer])(_trainable(model), **options)
    if hasattr(optimizer, "param_groups"):
        if options:
            raise OperationError(
                f"fit: {' and '.join(options)} {'are' if len(options) > 1 else 'is'} for an optimizer given by name; "
                "set them where this optimizer is made."
            )
        return optimizer
    if callable(optimizer):
        return optimizer(_trainable(model), **options)
    raise OperationError(f"fit: optimizer must be a name, an Optimizer or a function of parameters, got {optimizer!r}.")


def _trainable(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def resolve_metrics(metrics: Iterable[str | Metric], loss: Loss) -> list[Metric]:
    """Metrics given by name or as they are; ``accuracy`` is binary where the loss parts two classes."""
    if isinstance(metrics, str | Metric):
        metrics = [metrics]
    found = [_metric(metric, loss) for metric in metrics]
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1 or name in ("loss", "penalty", "lr", "epoch"):
            raise OperationError(f"metric: the name {name!r} is taken; give the metric another one with name=.")
    return found


def _metric(metric: str | Metric, loss: Loss) -> Metric:
    if isinstance(metric, Metric):
        return metric
    _check_name("metric", metric, METRICS)
    if metric in ("accuracy", "binary_accuracy") and loss.threshold is not None:
        return BinaryAccuracy(loss.threshold, name=metric)
    return METRICS[metric]()


def _check_name(kind: str, name: Any, table: dict[str, Any]) -> None:
    if name not in table:
        hint = did_you_mean(str(name), table)
        raise OperationError(f"unknown {kind} {name!r}{hint}; the names are {', '.join(table)}.")
