"""What training shows while it runs: a live bar on a terminal, otherwise one line an epoch."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from ..errors import OperationError

if TYPE_CHECKING:
    from .trainer import Trainer

_REFRESH = 0.1  # seconds between updates of the bar
_LINES = 0.25  # seconds between lines above the bar


class Silent:
    """Shows nothing. ``next_look`` is the time before which ``on_batch`` need not be called."""

    next_look = float("inf")

    def start(self, trainer: Trainer) -> None:
        """Training begins."""

    def on_batch(self, trainer: Trainer) -> None:
        """A batch is done."""

    def on_epoch(self, trainer: Trainer) -> None:
        """An epoch is done."""

    def say(self, text: str) -> None:
        """How to go on with a run that is not over, or why it is."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Something the user should know about how the run is made."""
        print(text, flush=True)

    def close(self) -> None:
        """Training is over."""


class Lines(Silent):
    """One line an epoch."""

    def on_epoch(self, trainer: Trainer) -> None:
        print(describe_epoch(trainer), flush=True)


class Bar(Silent):
    """A live bar over all epochs with loss, metrics and throughput, and lines of finished epochs above it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._line_at = 0.0
        self._started = (0.0, 0)

    def start(self, trainer: Trainer) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}")
        self._bar = Progress(text, BarColumn(), TextColumn("{task.fields[now]}"), TimeRemainingColumn(), transient=True)
        total = trainer.batches and trainer.batches * trainer.epochs
        self._task = self._bar.add_task("", total=total or None, completed=trainer.step, now="")
        self._bar.start()
        self._started = (time.perf_counter(), trainer.step)
        self.next_look = 0.0

    def on_batch(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        self.next_look = now + _REFRESH
        since, step = self._started
        rate = (trainer.step - step) * trainer.batch_rows / max(now - since, 1e-9)
        values = describe_values(trainer.running_row())
        description = f"epoch {trainer.epoch}/{trainer.epochs}"
        self._bar.update(
            self._task, completed=trainer.step, description=description, now=f"{values}  {rate:,.0f} samples/s"
        )

    def on_epoch(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        if now - self._line_at > _LINES or trainer.epoch == trainer.epochs:
            self._line_at = now
            self._print(describe_epoch(trainer))

    def note(self, text: str) -> None:
        self._print(text)

    def say(self, text: str) -> None:
        if self._bar is None:
            print(text, flush=True)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_progress(choice: str | bool | Silent) -> Silent:
    """``"auto"`` (a bar on a terminal, otherwise lines), ``"bar"``, ``"lines"``, True for auto, False for nothing; a
    display of one's own, a :class:`Silent` or a subclass, as it is."""
    if isinstance(choice, Silent):
        return choice
    if choice in (True, "auto"):
        choice = "bar" if sys.stdout is not None and sys.stdout.isatty() else "lines"
    if choice == "bar":
        return Bar()
    if choice == "lines":
        return Lines()
    if choice is False or choice == "none":
        return Silent()
    raise OperationError(f"fit: progress must be 'auto', 'bar', 'lines', True or False, got {choice!r}.")


def describe_epoch(trainer: Trainer) -> str:
    """One line about a finished epoch."""
    seconds = trainer.history.seconds[-1]
    rate = trainer.samples / max(seconds, 1e-9)
    width = len(str(trainer.epochs))
    values = describe_values(trainer.row)
    return f"epoch {trainer.epoch:>{width}}/{trainer.epochs}  {values}  ({seconds:.2f} s, {rate:,.0f} samples/s)"


def describe_values(row: dict[str, float]) -> str:
    """``loss 0.1234  accuracy 0.9876``."""
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items())
