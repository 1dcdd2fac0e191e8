"""Callbacks with Keras's names and arguments, carried out by :mod:`backlit.train`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import optim, train


class Callback:
    """Base of your own callbacks: ``on_epoch_begin(epoch, logs)``, ``on_epoch_end(epoch, logs)`` and the like.

    ``model`` is the Keras-shaped model; set ``model.stop_training = True`` to stop after the running epoch.
    """

    model: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After an epoch, with its losses and metrics."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """After a batch, counted from 0, with its loss."""


class Carrier(train.Callback):
    """Calls a Keras-shaped callback from the training loop."""

    def __init__(self, callback: Callback, model: Any) -> None:
        self.callback = callback
        callback.model = model

    def on_train_start(self, trainer: Any) -> None:
        self.callback.on_train_begin({})

    def on_epoch_start(self, trainer: Any) -> None:
        self.callback.on_epoch_begin(trainer.epoch - 1, {})

    def on_batch_end(self, trainer: Any) -> None:
        if type(self.callback).on_train_batch_end is not Callback.on_train_batch_end:
            self.callback.on_train_batch_end(trainer.batch - 1, {"loss": trainer.loss_value})

    def on_epoch_end(self, trainer: Any) -> None:
        self.callback.on_epoch_end(trainer.epoch - 1, dict(trainer.row))
        if self.callback.model.stop_training:
            trainer.stop("a callback asked for it")

    def on_train_end(self, trainer: Any) -> None:
        self.callback.on_train_end(dict(trainer.row))


class LambdaCallback(Callback):
    """A callback made of functions."""

    def __init__(
        self, on_epoch_begin: Callable[..., Any] | None = None, on_epoch_end: Callable[..., Any] | None = None
    ) -> None:
        if on_epoch_begin is not None:
            self.on_epoch_begin = on_epoch_begin  # type: ignore[method-assign]
        if on_epoch_end is not None:
            self.on_epoch_end = on_epoch_end  # type: ignore[method-assign]


class LearningRateScheduler(Callback):
    """Sets the learning rate to ``schedule(epoch, rate)`` before each epoch."""

    def __init__(self, schedule: Callable[..., float]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.optimizer.learning_rate = self.schedule(epoch, self.model.optimizer.learning_rate)


class ModelCheckpoint(Callback):
    """Saves the weights to ``filepath`` (safetensors) after each epoch, or only when ``monitor`` improved."""

    def __init__(
        self, filepath: str, monitor: str = "val_loss", save_best_only: bool = False, mode: str = "auto"
    ) -> None:
        self.filepath, self.monitor, self.save_best_only = filepath, monitor, save_best_only
        self.larger_is_better = mode == "max" or (mode == "auto" and monitor.endswith(("accuracy", "acc", "r2")))
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        value = logs.get(self.monitor, logs.get(self.monitor.removeprefix("val_"), float("nan")))
        better = self.best is None or (value > self.best if self.larger_is_better else value < self.best)
        if better:
            self.best = value
        if better or not self.save_best_only:
            self.model.save_weights(self.filepath.format(epoch=epoch + 1, **logs))


class CSVLogger(Callback):
    """Writes the history so far to a CSV file after each epoch."""

    def __init__(self, filename: str) -> None:
        self.filename = filename

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._rows = {**getattr(self, "_rows", {}), epoch: dict(logs or {})}
        history = train.History()
        for row in self._rows.values():
            history.append(row)
        history.to_csv(self.filename)


def EarlyStopping(
    monitor: str = "val_loss",
    min_delta: float = 0.0,
    patience: int = 0,
    mode: str = "auto",
    restore_best_weights: bool = False,
) -> train.EarlyStopping:
    """Stop when a value has not improved for ``patience`` epochs."""
    return train.EarlyStopping(
        patience=max(patience, 1),
        min_delta=min_delta,
        monitor=monitor,
        mode=None if mode == "auto" else mode,
        restore_best=restore_best_weights,
    )


class ReduceLROnPlateau:
    """Multiplies the learning rate by ``factor`` when a value has not improved for ``patience`` epochs."""

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_lr: float = 0.0,
    ) -> None:
        self.monitor = monitor
        self.options: dict[str, Any] = {"factor": factor, "patience": patience, "min_lr": min_lr}
        self.options["mode"] = "max" if mode == "max" or (mode == "auto" and monitor.endswith("accuracy")) else "min"

    def for_optimizer(self, optimizer: optim.Optimizer) -> train.LearningRateScheduler:
        """The training loop's scheduler for an optimizer that exists now."""
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, **self.options)
        return train.LearningRateScheduler(scheduler, monitor=self.monitor)
