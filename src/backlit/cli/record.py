"""A run on its way, and the files that tell how far it came."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..check import Flow
from ..serialization import save, write_atomically
from ..train import Callback, History, Trainer
from . import folder as files
from .prepare import Prepared
from .progress import Screen
from .settings import Settings


class Watch(Callback):
    """Holds on to the trainer, so that its history can be told even when training fails."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        self.trainer = trainer


@dataclass
class Run:
    """A run on its way: settings and data, and in time the network, its history and how long each part took."""

    settings: Settings
    prepared: Prepared
    folder: Path
    screen: Screen
    timings: dict[str, float] = field(default_factory=dict)
    statistics: Flow = field(default_factory=Flow)
    watch: Watch = field(default_factory=Watch)
    model: Any = None
    loss: Any = None

    @property
    def history(self) -> History:
        """What happened so far, epoch by epoch."""
        return self.watch.trainer.history if self.watch.trainer is not None else History()


def write_metrics(run: Run) -> None:
    """``metrics.csv``, a line an epoch, and ``layers.csv``, a line for each epoch and layer."""
    history = run.history
    lines = [",".join(["epoch", *history.columns])]
    lines += [",".join(_cell(value) for value in row.values()) for row in history.rows()]
    write_atomically(run.folder / files.METRICS, ("\n".join(lines) + "\n").encode())
    run.statistics.to_csv(run.folder / files.LAYERS)


def _cell(value: float) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else repr(value)


def write_weights(run: Run) -> None:
    """``weights.safetensors``: the parameters, and what scales the rows that the network expects."""
    save({**run.model.state_dict(), **run.prepared.statistics()}, run.folder / files.WEIGHTS)
