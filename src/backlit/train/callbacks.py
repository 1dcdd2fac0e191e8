"""What can take part in training without being in the loop: the base class, early stopping, learning rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import OperationError

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Base of callbacks. Define the moments that matter; each gets the :class:`Trainer`.

    The trainer shows ``model``, ``optimizer``, ``epoch`` and ``batch`` (the running ones, counted from 1), ``step``
    (all batches so far), ``row`` (this epoch's results, at its end), ``history``, and takes ``stop(reason)``.
    A callback that remembers something across epochs gives it in ``state_dict`` (numbers, text, tensors, and
    containers of them), so that a resumed run goes on as if it had never stopped.
    """

    def on_train_start(self, trainer: Trainer) -> None:
        """Before the first batch, also of a resumed run."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before an epoch's first batch; not called again when an epoch is resumed in its middle."""

    def on_batch_start(self, trainer: Trainer) -> None:
        """Before a batch's forward pass."""

    def on_gradients(self, trainer: Trainer) -> None:
        """When a batch's gradients are complete (and clipped), before the optimizer uses them."""

    def wants_gradients(self, trainer: Trainer) -> bool:
        """Whether ``on_gradients`` has something to do in the running batch; asked before it, where that is defined.

        A batch that somebody wants to look into runs eagerly; the others can be compiled.
        """
        return True

    def on_batch_end(self, trainer: Trainer) -> None:
        """After the optimizer's step."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After an epoch and its validation, before its checkpoint."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch; not called when training is interrupted."""

    def on_close(self, trainer: Trainer) -> None:
        """When training is left, in whatever way, also by an error: the place to take off hooks."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""


class EarlyStopping(Callback):
    """Stops when a monitored value has not improved for ``patience`` epochs, and brings the best weights back.

    Args:
        patience: how many epochs without improvement are waited for.
        min_delta: by how much a value must be better to count as an improvement.
        monitor: a column of the history (default: ``val_loss`` if there are validation data, else ``loss``).
        mode: ``"min"`` or ``"max"`` (default: as the column's metric says).
        restore_best: give the model the best epoch's weights at the end of training, whether it was stopped or not.

    Source: L. Prechelt, "Early Stopping – But When?", 1998.
    """

    def __init__(
        self,
        patience: int = 5,
        min_delta: float = 0.0,
        monitor: str | None = None,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise OperationError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}.")
        if patience < 1 or min_delta < 0:
            raise OperationError(f"EarlyStopping: needs patience >= 1 and min_delta >= 0, got {patience}, {min_delta}.")
        self.patience = patience
        self.min_delta = min_delta
        self.monitor = monitor
        self.mode = mode
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: dict[str, Any] | None = None
        self.waited = 0

    def on_train_start(self, trainer: Trainer) -> None:
        if not trainer.step:
            self.best = self.best_epoch = self.best_weights = None
            self.waited = 0

    def on_epoch_end(self, trainer: Trainer) -> None:
        column, value = trainer.monitored(self.monitor)
        if self._improves(value, self.mode or trainer.better(column)):
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            trainer.history.best_epoch = trainer.epoch
            if self.restore_best:
                self.best_weights = {key: t.detach().clone() for key, t in trainer.model.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(f"{column} has not improved for {self.waited} epochs (best: epoch {self.best_epoch})")

    def _improves(self, value: float, mode: str) -> bool:
        if math.isnan(value) or self.best is None:
            return not math.isnan(value)
        gain = value - self.best if mode == "max" else self.best - value
        return gain > self.min_delta

    def on_train_end(self, trainer: Trainer) -> None:
        if self.best_weights is not None:
            trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_epoch", "best_weights", "waited")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_weights, self.waited = state["best_weights"], state["waited"]


class LearningRateScheduler(Callback):
    """Steps a learning-rate scheduler when it wants to be stepped.

    Args:
        scheduler: a scheduler of :mod:`backlit.optim.lr_scheduler`.
        every: ``"batch"`` or ``"epoch"`` (default: batches for one-cycle and cyclic schedules, epochs for all others).
        monitor: the column that ``ReduceLROnPlateau`` watches (default: as for :class:`EarlyStopping`).
    """

    def __init__(self, scheduler: Any, every: str | None = None, monitor: str | None = None) -> None:
        if every not in (None, "batch", "epoch"):
            raise OperationError(f"LearningRateScheduler: every must be 'batch' or 'epoch', got {every!r}.")
        kind = type(scheduler).__name__
        self.scheduler = scheduler
        self.every = every or ("batch" if kind in ("OneCycleLR", "CyclicLR") else "epoch")
        self.watches = kind == "ReduceLROnPlateau"
        self.monitor = monitor
        if self.watches and self.every == "batch":
            raise OperationError("LearningRateScheduler: ReduceLROnPlateau is stepped once an epoch, by its value.")

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.every == "batch":
            self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.watches:
            self.scheduler.step(trainer.monitored(self.monitor)[1])
        elif self.every == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {"kind": type(self.scheduler).__name__, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
