"""What all schedules share: counting, writing learning rates into the optimizer's groups, checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import OperationError, UnsupportedError
from ...source import describe, mark
from ..optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: changes the learning rates of an optimizer's groups each time :meth:`step` is called.

    A subclass defines :meth:`rate`, the next learning rate of one group, or :meth:`get_lr`, those of all groups. Rates
    are worked out from the group's present rate where the formula allows, so that several schedules can act on one
    optimizer, each multiplying in its share.

    Args:
        optimizer: the optimizer; its groups' learning rates at this moment are the base rates (kept as ``initial_lr``).
        last_epoch: the number of the last epoch done when going on without a ``state_dict``; -1 to begin.
    """

    restarts_from_base: ClassVar[bool] = True
    """Whether the rate at epoch 0 follows from the base rate, whatever the rate was before."""

    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.attach(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise self.error(
                    f"last_epoch={last_epoch} goes on with a schedule, but parameter group {i} has no 'initial_lr'. "
                    "Load the optimizer's state_dict first, or leave last_epoch out to begin."
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.begin()

    def attach(self, optimizer: Any) -> None:
        """Check that this is an optimizer, and keep it."""
        if not isinstance(optimizer, Optimizer):
            raise self.error(f"the first argument must be an optimizer, got {type(optimizer).__name__}.")
        self.optimizer = optimizer

    def begin(self) -> None:
        """Set the rates of the first epoch."""
        self._step_count = 0
        self.step()

    def rate(self, lr: float, base: float) -> float:
        """The learning rate at ``last_epoch`` of a group that has ``lr`` now and began with ``base``."""
        raise NotImplementedError(f"{type(self).__name__} defines neither rate() nor get_lr().")

    def get_lr(self) -> list[float]:
        """The learning rates at ``last_epoch``, one a group; :meth:`get_last_lr` tells those in force."""
        groups = self.optimizer.param_groups
        for group in groups[len(self.base_lrs) :]:  # added since: their base rate is the one that they came with
            group.setdefault("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        return [self.rate(group["lr"], base) for group, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last :meth:`step` set, one a group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch (or batch); call it after the optimizer's ``step``."""
        if epoch is not None:
            raise UnsupportedError(
                f"{type(self).__name__}.step(epoch) at {describe(mark())}: jumping to an epoch is deprecated "
                "in PyTorch and not supported; call step() once for each epoch."
            )
        if self._step_count == 1 and not self.optimizer._stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(), so the first learning rate was "
                "skipped. Call optimizer.step() first.",
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self.write(self.get_lr())

    def restart(self) -> None:
        """Go to epoch 0, as :class:`SequentialLR` does when this schedule's turn comes."""
        self.last_epoch = 0
        if self.restarts_from_base:
            self.write(self.base_lrs)
        self.write(self.get_lr())

    def write(self, rates: Sequence[float]) -> None:
        """Put learning rates into the groups."""
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = list(rates)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on except the optimizer: numbers, truth values, strings, and lists of these."""
        return {name: value for name, value in self.__dict__.items() if name not in self.unsaved}

    unsaved: ClassVar[frozenset[str]] = frozenset({"optimizer"})
    """Attributes that are not part of the state."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; the optimizer's own state must be loaded as well, it holds the rates."""
        mine = self.state_dict()
        missing = sorted(set(mine) - set(state_dict))
        if missing:
            raise self.error(f"load_state_dict: {', '.join(missing)} missing; was it saved by another schedule?")
        self.__dict__.update({name: state_dict[name] for name in mine})

    def per_group(self, name: str, value: Any) -> list[float]:
        """A setting given once for all groups, or as a list with one entry a group."""
        count = len(self.optimizer.param_groups)
        if not isinstance(value, list | tuple):
            return [value] * count
        if len(value) != count:
            raise self.error(f"{name} has {len(value)} values, and the optimizer has {count} parameter groups.")
        return list(value)

    def error(self, problem: str) -> OperationError:
        """An error that names this schedule and the user's line."""
        return OperationError(f"{type(self).__name__} at {describe(mark())}: {problem}")
