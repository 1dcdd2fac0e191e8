"""Lowering the learning rate when a measure of quality stops improving."""

from __future__ import annotations

from math import inf
from typing import SupportsFloat

from ..optimizer import Optimizer
from .base import LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rate by ``factor`` when a metric has not improved for more than ``patience`` epochs.

    Args:
        optimizer: the optimizer.
        mode: ``"min"`` when a lower metric is better, ``"max"`` when a higher one is.
        factor: what to multiply with, less than 1.
        patience: epochs without improvement that are let pass.
        threshold: by how much a metric must beat the best to count as an improvement.
        threshold_mode: ``"rel"``: that share of the best; ``"abs"``: that amount.
        cooldown: epochs after a reduction during which nothing is counted.
        min_lr: the lowest rate, or a list, one a parameter group.
        eps: smaller reductions than this are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        self.attach(optimizer)
        if not factor < 1:
            raise self.error(f"factor must be less than 1, got {factor}.")
        if mode not in ("min", "max"):
            raise self.error(f"mode must be 'min' or 'max', got {mode!r}.")
        if threshold_mode not in ("rel", "abs"):
            raise self.error(f"threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}.")
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = self.per_group("min_lr", min_lr)
        self.eps = eps
        self.best = inf if mode == "min" else -inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    @property
    def in_cooldown(self) -> bool:
        """Whether bad epochs are not being counted."""
        return self.cooldown_counter > 0

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at this epoch's metric (a number or a one-element tensor)."""
        if epoch is not None:
            raise self.error("step(metrics, epoch): jumping to an epoch is not supported; leave epoch out.")
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            return sign * value > sign * (self.best * (1.0 + sign * self.threshold))
        return sign * value > sign * (self.best + sign * self.threshold)

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(self.min_lrs) < len(groups):  # groups were added since; the last lowest rate holds for them too
            self.min_lrs += [self.min_lrs[-1]] * (len(groups) - len(self.min_lrs))
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, lowest)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
