"""What a run of ``backlit train`` left in its folder, and the faults that it shows."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError
from ...serialization import load
from ...train.checkpoint import latest_checkpoint, load_checkpoint
from ..finding import Finding
from ..health.course import Course, judge_course
from ..health.flow_verdicts import judge_depth
from ..health.symmetry import alike

FORMAT = 1


@dataclass
class RunRecord:
    """A run's folder, read.

    Attributes:
        folder: where it is.
        config: what ``config.json`` holds: ``settings`` and ``data``.
        state: ``finished``, ``failed`` (training met NaN or infinity), or ``unfinished`` (running or interrupted).
        columns: the history's columns; ``epochs`` numbers their entries.
        gradient_norm, update_ratio: layer → a value an epoch.
        weights: the parameters, by name: the finished ones, or those of the newest checkpoint; empty without either.
        checkpoint: the newest checkpoint's contents, or None.
    """

    folder: Path
    config: dict[str, Any]
    state: str
    columns: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[float] = field(default_factory=list)
    gradient_norm: dict[str, list[float]] = field(default_factory=dict)
    update_ratio: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    checkpoint: dict[str, Any] | None = None

    @property
    def failure(self) -> str:
        """How training broke off, where it did."""
        if self.state != "failed":
            return ""
        return f"Training broke off in epoch {len(self.epochs) + 1} with a loss or gradient that is not finite."

    @property
    def course(self) -> Course:
        """The curves, as the rules take them."""
        return Course(self.columns, self.epochs, self.update_ratio, self.failure)


def read_run(folder: Any) -> RunRecord:
    """Read the folder of a run, whatever state it is in.

    Raises:
        CheckpointError: it is not the folder of a run, or its files are damaged.
    """
    place = Path(os.path.expanduser(folder))
    if not place.is_dir():
        what = "is not a folder" if place.exists() else "does not exist"
        raise CheckpointError(f"{folder}: this {what}; give the folder of a run, such as runs/digits-1.")
    config = _config(place)
    columns = _columns(place / "metrics.csv")
    epochs = columns.pop("epoch", [])
    norms, ratios = _layers(place / "layers.csv")
    checkpoint = load_checkpoint(place / "checkpoints") if latest_checkpoint(place / "checkpoints") else None
    if checkpoint is not None and _longer(checkpoint["history"]["columns"], columns):
        # metrics.csv is written once a second, and not at all by a process that was killed.
        columns = {name: [float(v) for v in values] for name, values in checkpoint["history"]["columns"].items()}
        epochs = [float(i + 1) for i in range(len(next(iter(columns.values()), [])))]
    written = (place / "weights.safetensors").is_file()
    reported = (place / "report.html").is_file()
    finished = written or (reported and _complete(config, checkpoint, len(epochs)))
    failed = not finished and reported
    state = "finished" if finished else "failed" if failed else "unfinished"
    if state == "unfinished" and checkpoint is None and not epochs and not (place / "metrics.csv").is_file():
        raise CheckpointError(f"{folder}: the run has left no epoch and no checkpoint yet; wait for its first epoch.")
    weights = _weights(place, written, checkpoint)
    return RunRecord(place, config, state, columns, epochs, norms, ratios, weights, checkpoint)


def run_faults(run: RunRecord) -> Iterator[Finding]:
    """The faults that curves, layer statistics and weights show."""
    yield from judge_course(run.course)
    yield from depth_faults(run.gradient_norm)
    yield from _weight_faults(run.weights)


def depth_faults(gradient_norm: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """Gradients of the weights that vanish from the last layer to the first, from a curve for each layer."""
    finite = {name: [v for v in curve if math.isfinite(v)] for name, curve in gradient_norm.items()}
    medians = {name: float(np.median(values)) for name, values in finite.items() if values}
    if len(medians) >= 3:
        # Weights of the first layer may well have the larger gradients: inputs can be large, and last layers narrow.
        yield from (f for f in judge_depth(medians, of="weights") if f.kind == "vanishing_gradients")


def _weight_faults(weights: Mapping[str, NDArray[Any]]) -> Iterator[Finding]:
    broken = [name for name, values in weights.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
    if broken:
        yield Finding(
            "diverged",
            f"{len(broken)} parameters hold NaN or infinity: {', '.join(broken[:3])}.",
            "updates overshot until numbers overflowed.",
            "lower the learning rate to a tenth, or limit the gradient norm.",
            broken[0],
            0.95,
        )
    matrices = [(name, values) for name, values in weights.items() if values.ndim >= 2 and len(values) > 1]
    same = [name for name, values in matrices[:-1] if values.dtype.kind == "f" and alike(values)]
    if same:
        yield Finding(
            "symmetric_units",
            f"All units of {same[0]} have the same weights.",
            "the weights were set to one value, or weight decay took them all to 0.",
            "initialize the weights at random, and check weight_decay.",
            same[0].rpartition(".")[0],
            0.95,
        )


def _config(place: Path) -> dict[str, Any]:
    file = place / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{place}: there is no config.json, so this is not the folder of a run of backlit train.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}")
        return {"settings": dict(config["settings"]), "data": dict(config["data"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{place}: config.json is damaged ({error}); there is nothing to go by.") from None


def _complete(config: dict[str, Any], checkpoint: dict[str, Any] | None, epochs: int) -> bool:
    """Whether all epochs were trained, or training was stopped in good order: then weights that lack were taken away.

    A run that was interrupted goes on, and is not complete.
    """
    stopped = checkpoint["history"].get("stopped") if checkpoint is not None else None
    return bool(stopped and stopped != "interrupted") or epochs >= config["settings"].get("epochs", math.inf)


def _columns(file: Path) -> dict[str, list[float]]:
    """A table of numbers by column; empty cells are NaN, and a last line that is still being written is left out."""
    rows = _table(file)
    if not rows:
        return {}
    head, *lines = rows
    if lines and "epoch" not in head:
        raise CheckpointError(f"{file}: this table is damaged (it has no column of epochs).")
    if lines and len(lines[-1]) < len(head):
        lines.pop()
    try:
        numbers = [[float(cell) if cell else math.nan for cell in line] for line in lines]
        return {name: [line[i] for line in numbers] for i, name in enumerate(head)}
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{file}: this table is damaged ({error}).") from None


def _layers(file: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Gradient norms and update ratios by layer."""
    norms: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    try:
        for line in _table(file)[1:]:
            if len(line) == 4:
                norms.setdefault(line[1], []).append(float(line[2] or "nan"))
                ratios.setdefault(line[1], []).append(float(line[3] or "nan"))
    except ValueError as error:
        raise CheckpointError(f"{file}: this table is damaged ({error}).") from None
    return norms, ratios


def _table(file: Path) -> list[list[str]]:
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            return [line for line in csv.reader(lines) if line]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{file}: this table cannot be read ({error}).") from None


def _weights(place: Path, written: bool, checkpoint: dict[str, Any] | None) -> dict[str, NDArray[Any]]:
    if written:
        held = load(place / "weights.safetensors")
        if not isinstance(held, dict):
            raise CheckpointError(f"{place / 'weights.safetensors'}: these are no weights of a run.")
    else:
        held = checkpoint["model"] if checkpoint is not None else {}
    return {name: t._data for name, t in held.items() if hasattr(t, "_data") and not name.startswith("scaling.")}


def _longer(recorded: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    return max(map(len, recorded.values()), default=0) > max(map(len, columns.values()), default=0)
