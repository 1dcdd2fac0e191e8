"""The network, the loss and the optimizer that a run's settings ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import click
import numpy as np

from .. import nn, optim
from ..nn import functional as F
from ..tensor import Tensor
from .settings import CLASS_LOSSES, NUMBER_LOSSES, Settings

MAX_PARAMETERS = 200_000_000

_ACTIVATIONS = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "softplus": nn.Softplus, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip
_OPTIMIZERS = {
    "adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "rmsprop": optim.RMSprop, "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
}  # fmt: skip

Loss = Callable[[Any, Any], Tensor]


def check_size(settings: Settings, inputs: int, outputs: int) -> None:
    """Refuse a network that would not fit in memory."""
    widths = (inputs, *settings.layers, outputs)
    count = sum((a + 1) * b for a, b in pairwise(widths))
    if count > MAX_PARAMETERS:
        raise click.UsageError(
            f"--layers asks for {count:,} weights, and the limit is {MAX_PARAMETERS:,}; give smaller widths."
        )


def build_network(settings: Settings, inputs: int, outputs: int) -> nn.Sequential:
    """A perceptron: linear layers with the activation, and dropout if wanted, between them."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    width = inputs
    for i, units in enumerate(settings.layers, 1):
        modules[f"hidden{i}"] = nn.Linear(width, units)
        modules[f"{settings.activation}{i}"] = _ACTIVATIONS[settings.activation]()
        if settings.dropout:
            modules[f"dropout{i}"] = nn.Dropout(settings.dropout)
        width = units
    modules["output"] = nn.Linear(width, outputs)
    return nn.Sequential(modules)


def resolve_loss(settings: Settings, classes: int | None) -> str:
    """The loss's name, after checking that it suits the target."""
    allowed = NUMBER_LOSSES if classes is None else CLASS_LOSSES
    if settings.loss == "auto":
        return allowed[0]
    if settings.loss not in allowed:
        kind = "a number" if classes is None else "a class"
        raise click.UsageError(
            f"--loss {settings.loss} does not suit a target that is {kind}; choose from {', '.join(allowed)}."
        )
    return settings.loss


def build_loss(name: str, classes: int | None) -> Loss:
    """The data loss, ``loss(output, target)``: the mean over the rows of a batch."""
    if classes is None:
        return {"mse": nn.MSELoss, "l1": nn.L1Loss, "huber": nn.HuberLoss}[name]()
    if name == "mse":
        return _brier(classes)
    return {"cross_entropy": nn.CrossEntropyLoss, "hinge": nn.MultiMarginLoss}[name]()


def build_optimizer(settings: Settings, model: nn.Module) -> optim.Optimizer:
    """The optimizer over all parameters of the model."""
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.momentum:
        options["momentum"] = settings.momentum
    return _OPTIMIZERS[settings.optimizer](model.parameters(), **options)


def _brier(classes: int) -> Loss:
    """The mean squared difference between softmax probabilities and the true class as a row of 0 and 1.

    Source: G. W. Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    rows = np.eye(classes)

    def brier(output: Any, target: Any) -> Tensor:
        wanted = rows[np.asarray(getattr(target, "_data", target))].astype(output.dtype)
        return F.mse_loss(F.softmax(output, dim=1), Tensor(wanted))

    return brier
