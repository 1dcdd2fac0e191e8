"""The one-cycle policy (Smith and Topin, "Super-convergence", 2018)."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler


class OneCycleLR(LRScheduler):
    """Raise the learning rate from low to ``max_lr`` and lower it to almost nothing; momentum goes the other way.

    To be stepped after every batch. The first rate is ``max_lr / div_factor``, the last that divided by
    ``final_div_factor``.

    Args:
        optimizer: the optimizer.
        max_lr: the highest rate, or a list, one a parameter group.
        total_steps: length of the cycle; or give ``epochs`` and ``steps_per_epoch``.
        epochs, steps_per_epoch: their product is the length.
        pct_start: share of the cycle in which the rate rises, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``, the shape of the slopes.
        cycle_momentum: move ``momentum`` (or ``betas[0]``) between ``max_momentum`` and ``base_momentum`` as well.
        base_momentum, max_momentum: the least and the largest momentum, or lists, one a group.
        div_factor, final_div_factor: as above.
        three_phase: go down to the first rate as fast as up, and only then to the last rate.
        last_epoch: see :class:`LRScheduler`.

    Raises:
        OperationError: no length, a share outside [0, 1], an optimizer without momentum, more steps than the length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.attach(optimizer)
        self.total_steps = self._length(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise self.error(f"pct_start must be in [0, 1], got {pct_start}.")
        if anneal_strategy not in ("cos", "linear"):
            raise self.error(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}.")
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.three_phase = three_phase
        self.cycle_momentum = cycle_momentum
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, self.per_group("max_lr", max_lr), strict=True):
                first = top / div_factor
                group.update(initial_lr=first, max_lr=top, min_lr=first / final_div_factor)
        if cycle_momentum:
            self._prepare_momentum(base_momentum, max_momentum, fresh=last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def _length(self, total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise self.error("give total_steps, or both epochs and steps_per_epoch.")
        length = total_steps if total_steps is not None else epochs * steps_per_epoch  # type: ignore[operator]
        if length < 1 or length != int(length):
            raise self.error(f"the number of steps must be a positive integer, got {length}.")
        return length

    def _prepare_momentum(self, base: Any, largest: Any, fresh: bool) -> None:
        if "momentum" not in self.optimizer.defaults and "betas" not in self.optimizer.defaults:
            raise self.error(f"{type(self.optimizer).__name__} has no momentum to cycle; pass cycle_momentum=False.")
        lows, tops = self.per_group("base_momentum", base), self.per_group("max_momentum", largest)
        if fresh:
            for group, low, top in zip(self.optimizer.param_groups, lows, tops, strict=True):
                group.update(base_momentum=low, max_momentum=top)

    def get_lr(self) -> list[float]:
        """The rates at this step; momentum is written to the groups on the way."""
        if self.last_epoch > self.total_steps:
            raise self.error(f"step {self.last_epoch} of a cycle of {self.total_steps}: the cycle is over.")
        start, end, share = self._phase()
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                momentum = self._between(group[_MOMENTUM[start]], group[_MOMENTUM[end]], share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return [self._between(group[start], group[end], share) for group in self.optimizer.param_groups]

    def _phase(self) -> tuple[str, str, float]:
        """Which rates the present phase goes from and to, and how much of it is done."""
        up = self.pct_start * self.total_steps - 1
        phases = [(up, "initial_lr", "max_lr"), (self.total_steps - 1, "max_lr", "min_lr")]
        if self.three_phase:
            down = (2 * up, "max_lr", "initial_lr")
            phases = [phases[0], down, (self.total_steps - 1, "initial_lr", "min_lr")]
        begin = 0.0
        for stop, start, end in phases[:-1]:
            if self.last_epoch <= stop:
                return start, end, (self.last_epoch - begin) / (stop - begin) if stop > begin else 1.0
            begin = stop
        stop, start, end = phases[-1]
        return start, end, (self.last_epoch - begin) / (stop - begin) if stop > begin else 1.0

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (cos(pi * share) + 1)


_MOMENTUM = {"initial_lr": "max_momentum", "max_lr": "base_momentum", "min_lr": "max_momentum"}
