"""Schedules that multiply: steps, exponentials, ramps, and functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler

Factor = Callable[[int], float]


class StepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` every ``step_size`` epochs.

    >>> import backlit as bl
    >>> optimizer = bl.optim.SGD([bl.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = bl.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(5):
    ...     print(schedule.get_last_lr(), end=" ")
    ...     optimizer.step()
    ...     schedule.step()
    [1.0] [1.0] [0.5] [0.5] [0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise self.error(f"step_size must be at least 1, got {step_size}.")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """A factor at each full number of steps."""
        return lr * self.gamma if self.last_epoch > 0 and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` at each of the epochs in ``milestones`` (twice where one is repeated)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """A factor for each milestone reached now."""
        return lr * self.gamma ** self.milestones.count(self.last_epoch)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As for every schedule; PyTorch's counter of milestones is understood."""
        saved = state_dict.get("milestones", [])
        if isinstance(saved, Mapping):
            saved = sorted(int(epoch) for epoch, times in saved.items() for _ in range(times))
        super().load_state_dict({**state_dict, "milestones": saved})


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """A factor an epoch."""
        return lr * self.gamma if self.last_epoch > 0 else lr


class ConstantLR(LRScheduler):
    """Multiply the learning rate by ``factor`` until ``total_iters`` epochs are done, then give it back whole."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise self.error(f"factor must be in [0, 1], got {factor}.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """In at the beginning, out at the end."""
        if self.last_epoch == 0:
            return lr * self.factor
        return lr / self.factor if self.last_epoch == self.total_iters else lr


class LinearLR(LRScheduler):
    """Move a factor on the learning rate from ``start_factor`` to ``end_factor`` in ``total_iters`` equal steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise self.error(f"start_factor must be in (0, 1], got {start_factor}.")
        if not 0 <= end_factor <= 1:
            raise self.error(f"end_factor must be in [0, 1], got {end_factor}.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """The ratio of the factors now and an epoch ago."""
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        return lr * (1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))


class PolynomialLR(LRScheduler):
    """Lower the learning rate to zero as ``(1 − epoch / total_iters) ** power``."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """The ratio of the polynomial now and an epoch ago."""
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return lr
        left = self.total_iters - self.last_epoch
        return lr * (left / (left + 1.0)) ** self.power


class LambdaLR(LRScheduler):
    """Set the learning rate to the base rate times ``lr_lambda(epoch)``.

    Args:
        optimizer: the optimizer.
        lr_lambda: a function of the epoch, or a list of them, one a parameter group.
        last_epoch: see :class:`LRScheduler`.

    The functions are no part of the ``state_dict``: give them again when you go on.
    """

    unsaved = frozenset({"optimizer", "lr_lambdas"})

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        self.attach(optimizer)
        self.lr_lambdas: list[Any] = self.per_group("lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Base rates times the functions' values."""
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LambdaLR):
    """Multiply the learning rate by ``lr_lambda(epoch)`` every epoch from the first on; see :class:`LambdaLR`."""

    restarts_from_base = False

    def get_lr(self) -> list[float]:
        """Present rates times the functions' values."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.last_epoch <= 0:
            return rates
        return [lr * factor(self.last_epoch) for lr, factor in zip(rates, self.lr_lambdas, strict=True)]
