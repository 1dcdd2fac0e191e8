"""Cosine schedules (Loshchilov and Hutter, "SGDR", 2017)."""

from __future__ import annotations

from math import cos, pi

from ..optimizer import Optimizer
from .base import LRScheduler


class CosineAnnealingLR(LRScheduler):
    """Lower the learning rate along half a cosine wave: ``η = η_min + (η₀ − η_min)(1 + cos(π · epoch / T_max)) / 2``.

    After ``T_max`` epochs it rises again the same way.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise self.error(f"T_max must be at least 1, got {T_max}.")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """The ratio of the wave now and an epoch ago, or where that divides by zero the wave's first rise."""
        if self.last_epoch == 0:
            return lr
        if self._step_count == 1:  # going on from last_epoch, without a rate to go on from
            return self.eta_min + (base - self.eta_min) * self._height(self.last_epoch) / 2
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            return lr + (base - self.eta_min) * (1 - cos(pi / self.T_max)) / 2
        return self._height(self.last_epoch) / self._height(self.last_epoch - 1) * (lr - self.eta_min) + self.eta_min

    def _height(self, epoch: int) -> float:
        return 1 + cos(pi * epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lower the learning rate along half a cosine wave, and start again from the top after ``T_0`` epochs.

    Each cycle is ``T_mult`` times as long as the one before.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or int(T_0) != T_0:
            raise self.error(f"T_0 must be a positive integer, got {T_0}.")
        if T_mult < 1 or int(T_mult) != T_mult:
            raise self.error(f"T_mult must be an integer of at least 1, got {T_mult}.")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        """The place in the present cycle decides."""
        done, length = self.last_epoch, self.T_0
        while done >= length and self.T_mult > 1:
            done -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * (done % length) / length)) / 2
