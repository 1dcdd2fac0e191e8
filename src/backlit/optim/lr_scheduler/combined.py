"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler
from .plateau import ReduceLROnPlateau


class _Combined(LRScheduler):
    """Several schedules of one optimizer."""

    unsaved = frozenset({"optimizer", "_schedulers"})
    _schedulers: list[LRScheduler]

    def adopt(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        """Check and keep the parts."""
        self.attach(optimizer)
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise self.error(f"schedule {i} is a {type(scheduler).__name__}, which cannot be combined.")
            if scheduler.optimizer is not optimizer:
                raise self.error(f"schedule {i} ({type(scheduler).__name__}) belongs to another optimizer.")
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        """The state of this schedule and of its parts."""
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict` with the same parts in the same order."""
        parts = state_dict.get("_schedulers", [])
        if len(parts) != len(self._schedulers):
            raise self.error(
                f"load_state_dict: {len(parts)} schedules were saved, and there are {len(self._schedulers)}."
            )
        mine = super().state_dict()
        missing = sorted(set(mine) - set(state_dict))
        if missing:
            raise self.error(f"load_state_dict: {', '.join(missing)} missing; was it saved by another schedule?")
        for part, saved in zip(self._schedulers, parts, strict=True):
            part.load_state_dict(saved)
        self.__dict__.update({name: state_dict[name] for name in mine})


class SequentialLR(_Combined):
    """One schedule after the other: the next takes over, from its beginning, at each of the epochs in ``milestones``.

    >>> import backlit as bl
    >>> from backlit.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> optimizer = bl.optim.SGD([bl.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> parts = [ConstantLR(optimizer, factor=0.25, total_iters=9), ExponentialLR(optimizer, gamma=0.5)]
    >>> schedule = SequentialLR(optimizer, parts, milestones=[2])
    >>> for epoch in range(5):
    ...     print(schedule.get_last_lr(), end=" ")
    ...     optimizer.step()
    ...     schedule.step()
    [0.25] [0.25] [1.0] [0.5] [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        self.adopt(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise self.error(
                f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones between them, not {len(milestones)}"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:  # undo what each part did when it was made
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            _undo(scheduler)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.begin()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch."""
        if epoch is not None:
            super().step(epoch)
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedules at once, each acting on the rates that the one before it left."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise self.error("there are no schedules to chain.")
        self.adopt(optimizer or schedulers[0].optimizer, schedulers)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """Step each part in order."""
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._last_lr = self._schedulers[-1].get_last_lr()


def _undo(scheduler: LRScheduler) -> None:
    for part in getattr(scheduler, "_schedulers", None) or ():
        _undo(part)
    if hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch -= 1
