"""The training loop, and where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BacklitError, CheckpointError, OperationError
from ..spelling import did_you_mean
from ..tensor import Tensor
from ..threads import as_many_as_pay
from .anomalies import Retracer
from .callbacks import Callback
from .checkpoint import CheckpointEvery, check_model, check_optimizer
from .choices import Loss
from .evaluation import keeping_modes, run_evaluation
from .finite import first_not_finite, parts_to_check, product_weights, squares
from .history import History
from .interrupt import Interruptible
from .metrics import Metric
from .native import LARGEST_RATE, Native, evaluation_step, training_step
from .progress import Silent
from .randomness import random_state, set_random_state
from .rewind import rewound
from .sources import largest_product, unpack

_EVENTS = ("train_start", "epoch_start", "batch_start", "gradients", "batch_end", "epoch_end", "train_end", "close")


class Rules(NamedTuple):
    """What is done to loss and gradients besides computing them."""

    clip_grad_norm: float | None = None
    clip_grad_value: float | None = None
    l1: float = 0.0
    l2: float = 0.0


class Trainer:
    """One training run. :func:`backlit.train.fit` makes it; callbacks look at it.

    Attributes:
        model, optimizer, loss, loader, metrics, history: what is trained, how, and what came of it.
        epochs: how many there are to be; ``epoch``, ``batch``: the running ones, counted from 1.
        batches: how many an epoch has, or None where nobody knows.
        step: batches so far in the whole run.
        row: the results of the epoch that just ended.
        output, target, loss_value: of the running batch.
        eager_because: why batches are not compiled, where they could not be.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Loss,
        loader: Any,
        *,
        epochs: int,
        metrics: list[Metric],
        validation: Any = None,
        validation_metrics: list[Metric],
        rules: Rules,
        callbacks: list[Callback],
        checkpoint: CheckpointEvery | None,
        progress: Silent,
        settings: dict[str, Any],
        compile: str | bool = "auto",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.loader = loader
        self.epochs = epochs
        self.metrics = metrics
        self.validation = validation
        self.validation_metrics = validation_metrics
        self.rules = rules
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.progress = progress
        self.history = History()
        self.row: dict[str, float] = {}
        self.done = self.batch = self.step = self.samples = self.batch_rows = 0
        self.output: Any = None
        self.target: Any = None
        self.loss_value = float("nan")
        self.eager_because: str | None = None
        self.batches = _length(loader)
        self.saved: Path | None = None
        self._settings = {**settings, "loss": loss.name, "optimizer": type(optimizer).__name__, **rules._asdict()}
        self._settings["metrics"] = [metric.name for metric in metrics]
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._sums = [0.0, 0.0, 0]
        self._hooks = {event: _overriding(callbacks, f"on_{event}") for event in _EVENTS}
        self._lookers = [hook.__self__ for hook in self._hooks["gradients"]]
        self._interrupt = Interruptible()
        self._choose_native(compile)

    @property
    def epoch(self) -> int:
        """The running epoch, counted from 1."""
        return min(self.done + 1, self.epochs)

    def stop(self, reason: str) -> None:
        """End training after the running epoch (after the running batch, when called from a batch's callback)."""
        self.history.stopped = reason

    def monitored(self, column: str | None) -> tuple[str, float]:
        """A result of the epoch that just ended; by default the validation loss, or the loss without validation."""
        name = column or ("val_loss" if "val_loss" in self.row else "loss")
        if name not in self.row:
            hint = did_you_mean(name, self.row)
            raise OperationError(f"fit: there is no {name!r} to monitor{hint}; there are {', '.join(self.row)}.")
        return name, self.row[name]

    def better(self, column: str) -> str:
        """Whether a column is good when it is small (``"min"``) or large (``"max"``)."""
        name = column.removeprefix("val_")
        return next((metric.better for metric in self.metrics if metric.name == name), "min")

    def running_row(self) -> dict[str, float]:
        """Loss and metrics of the running epoch so far."""
        data, penalty, count = self._sums
        row = {"loss": data / count if count else float("nan")}
        if self.rules.l1 or self.rules.l2:
            row["penalty"] = penalty / count if count else float("nan")
        row.update((metric.name, metric.compute()) for metric in self.metrics)
        return row

    def _choose_native(self, choice: str | bool) -> None:
        """What of training and of validation can run as native code."""
        model, optimizer, loss, rules = self.model, self.optimizer, self.loss.function, self.rules
        clip = self._clip if rules.clip_grad_value is not None or rules.clip_grad_norm is not None else None
        checks = parts_to_check(self._parameters, product_weights(model))
        step = training_step(model, loss, optimizer, penalty_of(rules), clip, checks)
        self._native = Native(step, choice, self._parameters, lambda: rewound(model, optimizer))
        self._native.gradients = any(not type(c).__module__.startswith("backlit.") for c in self._per_batch())
        self._native_evaluation = Native(evaluation_step(model, loss), choice, self._parameters, lambda: rewound(model))

    def _per_batch(self) -> list[Callback]:
        """The callbacks that are called in each batch, and may look at the gradients that the last one left."""
        return [hook.__self__ for event in ("batch_start", "batch_end") for hook in self._hooks[event]]

    # -- the loop -----------------------------------------------------------------------------------------------

    def run(self) -> History:
        """Train until the last epoch, a stop, or Ctrl-C."""
        if self.checkpoint is not None:
            self.checkpoint.prepare(fresh=not self.step)
        interrupt = self._interrupt
        with keeping_modes(self.model), interrupt, as_many_as_pay(largest_product(self.loader, self._parameters)):
            self.model.train()
            self.progress.start(self)
            self._retracer = Retracer(self, self._parameters)
            self._products = product_weights(self.model)
            self._say_why_eager(self._always_looked_at())
            try:
                self._say_if_over()
                self._emit("train_start")
                while self.done < self.epochs and not self.history.stopped and not interrupt.requested:
                    self._run_epoch()
                self._finish()
            finally:
                self._emit("close")
                self.progress.close()
                self.output = self.target = None
                self._native.clear_used_gradients()
        return self.history

    def _run_epoch(self) -> None:
        started = time.perf_counter()
        self.samples = 0
        if not self.batch:
            self._sums = [0.0, 0.0, 0]
            for metric in self.metrics:
                metric.reset()
            self._emit("epoch_start")
        every = self.checkpoint.every_n_batches if self.checkpoint is not None else None
        interrupt, history, progress, clock = self._interrupt, self.history, self.progress, time.perf_counter
        for batch in self.loader:
            self._run_batch(batch)
            if every is not None and self.step % every == 0:
                self._save()
            if interrupt.requested or history.stopped:
                return
            if clock() >= progress.next_look:
                progress.on_batch(self)
        self._end_epoch(started)

    def _run_batch(self, batch: Any) -> None:
        """Forward, backward, update: the weights change only if everything is finite."""
        self.batch += 1
        hooks = self._hooks
        inputs, target = unpack(batch)
        for hook in hooks["batch_start"]:
            hook(self)
        self._retracer.before_batch()
        value, penalty, output = self._run_natively(inputs, target) or self._run_eagerly(inputs, target)
        self._retracer.losses.append(value)
        self.step += 1
        rows = self.batch_rows = inputs[0].shape[0]
        self.samples += rows
        sums = self._sums
        sums[0] += value * rows
        sums[1] += penalty * rows
        sums[2] += rows
        for metric in self.metrics:
            metric.update(output, target)
        for hook in hooks["batch_end"]:
            hook(self)

    def _run_natively(self, inputs: tuple[Any, ...], target: Any) -> tuple[float, float, Any] | None:
        """The batch as one compiled call: loss, penalty and output. None where it must be made eagerly."""
        native = self._native
        if any(callback.wants_gradients(self) for callback in self._lookers):
            return None
        if any(not 0.0 <= group["lr"] <= LARGEST_RATE for group in self.optimizer.param_groups):
            return None
        made = native.run((*inputs, target))
        if made is None:
            if native.reason is not None:
                self._say_why_eager(native.reason)
            self._retracer.put_back()
            return None
        loss, term, output = made
        self.output, self.target, self.loss_value = output, target, float(loss._data)
        return self.loss_value, 0.0 if term is None else float(term._data), output

    def _run_eagerly(self, inputs: tuple[Any, ...], target: Any) -> tuple[float, float, Any]:
        """The batch step by step, open to callbacks: loss, penalty and output."""
        output, loss, term = self.forward(inputs, target)
        value, penalty = self._value("loss", loss, inputs, target), 0.0
        if term is not None:
            penalty = self._value("penalty of the weights", term, inputs, target)
            loss = loss + term
        self.optimizer.zero_grad()
        loss.backward()
        size = self._check_gradients(inputs, target)
        self._clip()
        self.output, self.target, self.loss_value = output, target, value
        for hook in self._hooks["gradients"]:
            hook(self)
        self._retracer.update(size)
        return value, penalty, output

    def _say_why_eager(self, reason: str | None) -> None:
        """One line, once."""
        if reason is not None and self.eager_because is None:
            self.eager_because = reason
            self.progress.note(f"Training runs eagerly: {reason}.")

    def _always_looked_at(self) -> str | None:
        """Whether a callback looks into every batch, so that none can be compiled."""
        for callback in self._lookers:
            if type(callback).wants_gradients is Callback.wants_gradients and not self._native.off:
                name = type(callback).__name__
                return f"{name} looks at the gradients of every batch (see Callback.wants_gradients)"
        return None

    def _end_epoch(self, started: float) -> None:
        if not self._sums[2]:
            raise OperationError("fit: there are no training samples.")
        self.row = self.running_row()
        if self.validation is not None:
            results = run_evaluation(
                self.model, self.validation, self.loss, self.validation_metrics, self._native_evaluation
            )
            self.row.update((f"val_{name}", value) for name, value in results.items())
        row = {**self.row, "lr": float(self.optimizer.param_groups[0]["lr"])}
        self.history.append(row)
        self.history.seconds.append(time.perf_counter() - started)
        self._emit("epoch_end")
        self.progress.on_epoch(self)
        self.done += 1
        self.batch = 0
        every = self.checkpoint.every_n_epochs if self.checkpoint is not None else None
        if every is not None and self.done % every == 0:
            self._save()

    def _finish(self) -> None:
        """Save the last state; after Ctrl-C say how to go on, otherwise tell the callbacks that it is over."""
        interrupted = self._interrupt.requested and self.done < self.epochs and not self.history.stopped
        if self.checkpoint is not None and self.step:
            self._save()
        if not interrupted:
            self._emit("train_end")
            return
        self.history.stopped = "interrupted"
        where = f"Stopped in epoch {self.epoch} after {self.batch} of {self.batches or '?'} batches"
        if self.saved is None:
            self.progress.say(
                f"{where}. Nothing was saved; with checkpoint=CheckpointEvery(folder) it could be resumed."
            )
        else:
            self.progress.say(f"{where}. To go on, call fit with resume={str(self.saved)!r}.")

    def _say_if_over(self) -> None:
        """Explain why a resumed run does nothing."""
        if self.history.stopped:
            self.progress.say(f"This run is over: {self.history.stopped}.")
        elif self.done >= self.epochs:
            self.progress.say(f"This run is over: all {self.done} epochs are done; to go on, ask for more epochs.")

    def _emit(self, event: str) -> None:
        for hook in self._hooks[event]:
            hook(self)

    # -- parts of a batch ---------------------------------------------------------------------------------------

    def forward(self, inputs: tuple[Any, ...], target: Any) -> tuple[Any, Any, Any]:
        """Output and loss of a batch, and the penalty of the weights (None without)."""
        output = self.model(*inputs)
        loss = self.loss.function(output, target)
        penalty = penalty_of(self.rules)
        return output, loss, None if penalty is None else penalty(self.model)

    def _value(self, what: str, loss: Any, inputs: tuple[Any, ...], target: Any) -> float:
        """The loss or the penalty as a number, or an error where it is none."""
        if not isinstance(loss, Tensor) or loss._data.size != 1:
            shape = getattr(loss, "shape", type(loss).__name__)
            raise OperationError(f"fit: the loss {self.loss.name!r} must give a 0-d tensor, got {shape}; average it.")
        value = float(loss._data)
        if value - value != 0.0:  # NaN or infinite
            self._retracer.stop(inputs, target, f"fit: the {what} is {value} {self.place}")
        return value

    def _check_gradients(self, inputs: tuple[Any, ...], target: Any) -> float:
        """The size of the gradients as :func:`~.finite.squares` has it; an error where one is not finite."""
        size = squares(self._parameters, self._products)
        if size - size != 0.0:
            parameter = first_not_finite(self._parameters)
            if parameter is not None:
                name = self.name_of(parameter)
                head = f"fit: the gradient of {name} is not finite {self.place}, though the loss is"
                self._retracer.stop(inputs, target, head)
        return size

    @property
    def place(self) -> str:
        """Where training is, for messages about a batch that was not trained on."""
        return f"in epoch {self.epoch}, batch {self.batch} (the weights are those before this batch)"

    def name_of(self, parameter: Any) -> str:
        """The name of a parameter in the model."""
        return next((name for name, p in self.model.named_parameters() if p is parameter), "a parameter")

    def _clip(self) -> None:
        rules = self.rules
        if rules.clip_grad_value is not None or rules.clip_grad_norm is not None:
            from ..nn.utils import clip_grad_norm_, clip_grad_value_

            if rules.clip_grad_value is not None:
                clip_grad_value_(self._parameters, rules.clip_grad_value)
            if rules.clip_grad_norm is not None:
                clip_grad_norm_(self._parameters, rules.clip_grad_norm)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.checkpoint is not None:
            self.saved = self.checkpoint.save(self.state_dict(), self.step)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on."""
        return {
            "settings": self._settings,
            "position": {"epochs_done": self.done, "batch": self.batch, "step": self.step},
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "validation": None if self.validation is None else self.validation.state_dict(),
            "random": random_state(),
            "running": {"sums": list(self._sums), "metrics": [metric.state_dict() for metric in self.metrics]},
            "history": self.history.state_dict(),
            "callbacks": self._callback_states(),
            "shapes": [self._native.state_dict(), self._native_evaluation.state_dict()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved run: all of it, or, where it does not fit, nothing.

        Raises:
            CheckpointError: the run was made with other settings, another architecture, other callbacks.
        """
        try:
            self._check(state)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.loader.load_state_dict(state["loader"])
            if self.validation is not None:
                self.validation.load_state_dict(state["validation"])
            for callback, entry in zip(self._stateful(), state["callbacks"], strict=True):
                callback.load_state_dict(entry["state"])
            for metric, saved in zip(self.metrics, state["running"]["metrics"], strict=True):
                metric.load_state_dict(saved)
            for native, seen in zip((self._native, self._native_evaluation), state.get("shapes", ()), strict=False):
                native.load_state_dict(seen)
            self._sums = list(state["running"]["sums"])
            self.history.load_state_dict(state["history"])
            position = state["position"]
            self.done, self.batch, self.step = position["epochs_done"], position["batch"], position["step"]
            set_random_state(state["random"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, BacklitError) as error:
            raise CheckpointError(f"the checkpoint does not belong to a run like this one ({error}).") from error

    def _check(self, state: dict[str, Any]) -> None:
        check_model(self.model, state["model"])
        for name, saved in state["settings"].items():
            if name in self._settings and saved != self._settings[name]:
                raise CheckpointError(
                    f"the checkpoint is of a run with {name}={saved!r}, this one has {self._settings[name]!r}; "
                    "nothing was changed. Resume with the settings it was started with."
                )
        check_optimizer(self.optimizer, state["optimizer"])
        saved_kinds = [entry["kind"] for entry in state["callbacks"]]
        kinds = [_kind(callback) for callback in self._stateful()]
        if kinds != saved_kinds:
            raise CheckpointError(
                f"the checkpoint is of a run with the callbacks {', '.join(saved_kinds) or 'none'}, this one has "
                f"{', '.join(kinds) or 'none'}; nothing was changed."
            )

    def _stateful(self) -> list[Callback]:
        return [callback for callback in self.callbacks if type(callback).state_dict is not Callback.state_dict]

    def _callback_states(self) -> list[dict[str, Any]]:
        return [{"kind": _kind(callback), "state": callback.state_dict()} for callback in self._stateful()]


def penalty_of(rules: Rules) -> Callable[[Any], Any] | None:
    """The penalty of a model's weights that the rules ask for, as a function of the model."""
    from ..nn import l1_penalty, l2_penalty

    l1, l2 = rules.l1, rules.l2
    if l1 and l2:
        return lambda model: l1_penalty(model, l1) + l2_penalty(model, l2)
    if l1:
        return lambda model: l1_penalty(model, l1)
    return (lambda model: l2_penalty(model, l2)) if l2 else None


def _kind(callback: Callback) -> str:
    """What a callback is, to recognise it in a checkpoint; schedules go by the scheduler's class."""
    inner = getattr(callback, "scheduler", None)
    return type(callback).__name__ if inner is None else f"{type(callback).__name__}({type(inner).__name__})"


def _overriding(callbacks: list[Callback], event: str) -> list[Any]:
    """The callbacks' methods for an event, only of those that define it."""
    return [getattr(c, event) for c in callbacks if getattr(type(c), event) is not getattr(Callback, event)]


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None
