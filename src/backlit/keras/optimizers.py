"""Optimizers with Keras's argument names and defaults. They get their parameters when the model is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import optim
from .names import look_up


class Optimizer:
    """A recipe for one of :mod:`backlit.optim`, which is made once there are parameters."""

    def __init__(self, kind: Any, learning_rate: float, **options: Any) -> None:
        self.kind, self.options = kind, options
        self.made: optim.Optimizer | None = None
        self._rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """The step size; assign to change it."""
        return self._rate if self.made is None else self.made.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._rate = float(value)
        for group in [] if self.made is None else self.made.param_groups:
            group["lr"] = float(value)

    def for_parameters(self, parameters: list[Any]) -> optim.Optimizer:
        """The optimizer itself, the same one in every call of ``fit``."""
        if self.made is None:
            self.made = self.kind(parameters, lr=self._rate, **self.options)
        return self.made


def SGD(learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Gradient descent, with momentum."""
    return Optimizer(optim.SGD, learning_rate, momentum=momentum, nesterov=nesterov)


def Adam(
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam (Kingma & Ba 2014)."""
    return Optimizer(optim.Adam, learning_rate, betas=(beta_1, beta_2), eps=epsilon, amsgrad=amsgrad)


def AdamW(
    learning_rate: float = 0.001,
    weight_decay: float = 0.004,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""
    return Optimizer(optim.AdamW, learning_rate, betas=(beta_1, beta_2), eps=epsilon, weight_decay=weight_decay)


def RMSprop(learning_rate: float = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7) -> Optimizer:
    """RMSprop (Tieleman & Hinton 2012)."""
    return Optimizer(optim.RMSprop, learning_rate, alpha=rho, momentum=momentum, eps=epsilon)


def Adagrad(learning_rate: float = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7) -> Optimizer:
    """Adagrad (Duchi et al. 2011)."""
    return Optimizer(optim.Adagrad, learning_rate, initial_accumulator_value=initial_accumulator_value, eps=epsilon)


def Adadelta(learning_rate: float = 0.001, rho: float = 0.95, epsilon: float = 1e-7) -> Optimizer:
    """Adadelta (Zeiler 2012)."""
    return Optimizer(optim.Adadelta, learning_rate, rho=rho, eps=epsilon)


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "adagrad": Adagrad, "adadelta": Adadelta,
}  # fmt: skip


def resolve_optimizer(given: Any) -> Optimizer:
    """An optimizer by name, or one made by this module."""
    return given if isinstance(given, Optimizer) else look_up("optimizer", given, OPTIMIZERS)()
