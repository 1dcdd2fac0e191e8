"""What happened, epoch by epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import Any


class History:
    """The record of a training run: one list of numbers a column, one number an epoch.

    Attributes:
        columns: ``loss``, the metrics, ``val_…`` for the validation data, ``lr``, as name → list. An epoch without a
            value in some column has NaN there.
        seconds: how long each epoch took; apart from the columns, which are the same in every run of the same seed.
        best_epoch: the epoch (counted from 1) whose weights early stopping holds to be best, or None.
        stopped: why training ended before its last epoch, or an empty text.

    >>> history = History()
    >>> history.append({"loss": 2.0}); history.append({"loss": 1.0})
    >>> history["loss"], history.last
    ([2.0, 1.0], {'loss': 1.0})
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.best_epoch: int | None = None
        self.stopped = ""

    @property
    def history(self) -> dict[str, list[float]]:
        """The columns, under the name that Keras gives them."""
        return self.columns

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's values."""
        return {name: values[-1] for name, values in self.columns.items() if values}

    def append(self, row: dict[str, float]) -> None:
        """Add an epoch."""
        epochs = len(self)
        for name in row:
            self.columns.setdefault(name, [float("nan")] * epochs)
        for name, values in self.columns.items():
            values.append(row.get(name, float("nan")))

    def __getitem__(self, name: str) -> list[float]:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def rows(self) -> Iterator[dict[str, float]]:
        """The epochs as dicts, with their number, counted from 1, first."""
        for i in range(len(self)):
            yield {"epoch": i + 1, **{name: values[i] for name, values in self.columns.items()}}

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with one line an epoch; numbers are written so that they read back exactly."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", *self.columns], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw loss and metrics over the epochs (needs matplotlib, the extra ``plot``); with a path, save the picture.

        Returns:
            The matplotlib figure.
        """
        from matplotlib.figure import Figure

        names = [name for name in self.columns if not name.startswith("val_") and name != "lr"]
        figure = Figure(figsize=(5 * max(1, len(names)), 3.5), layout="constrained")
        epochs = range(1, len(self) + 1)
        for axes, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self.columns:
                    axes.plot(epochs, self.columns[key], label=label, marker="." if len(self) < 30 else None)
            axes.set(xlabel="epoch", title=name)
            axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, as numbers and text."""
        columns = {name: list(values) for name, values in self.columns.items()}
        return {
            "columns": columns,
            "seconds": list(self.seconds),
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved record."""
        self.columns = {name: list(values) for name, values in state["columns"].items()}
        self.seconds = list(state["seconds"])
        self.best_epoch = state["best_epoch"]
        self.stopped = state["stopped"]

    def __repr__(self) -> str:
        return f"History({len(self)} epochs: {', '.join(f'{name} {value:.4g}' for name, value in self.last.items())})"
