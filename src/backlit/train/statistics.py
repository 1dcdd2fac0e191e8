"""Gradient sizes and update sizes of each layer, followed over the epochs."""

from __future__ import annotations

import csv
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer


class LayerStatistics(Callback):
    """Records, for each layer and epoch, the gradient norm ``‖∂L/∂W‖`` and the update-to-weight ratio ``‖ΔW‖ / ‖W‖``.

    A layer is a module with parameters of its own; its norms are over all of them together. Both numbers are means
    over ``samples`` batches spread over the epoch, so that the cost does not grow with the epoch's length: a sampled
    batch copies the weights once. A healthy ratio is about 10⁻³ for plain gradient descent.

    Attributes:
        gradient_norm: layer → one value an epoch.
        update_ratio: layer → one value an epoch. NaN where a layer's weights are all zero.

    Source: A. Karpathy, CS231n notes, "Ratio of weights:updates".
    """

    def __init__(self, samples: int = 4) -> None:
        self.samples = samples
        self.gradient_norm: dict[str, list[float]] = {}
        self.update_ratio: dict[str, list[float]] = {}
        self._sums: dict[str, list[float]] = {}
        self._taken = 0
        self._before: list[np.ndarray] | None = None
        self._layers: dict[str, list[Any]] = {}

    def on_train_start(self, trainer: Trainer) -> None:
        self._layers = layers_of(trainer.model)
        if not trainer.step:
            self.gradient_norm = {layer: [] for layer in self._layers}
            self.update_ratio = {layer: [] for layer in self._layers}
            self._begin()

    def _begin(self) -> None:
        self._sums = {layer: [0.0, 0.0] for layer in self._layers}
        self._taken = 0

    def samples_batch(self, trainer: Trainer) -> bool:
        """Whether the running batch is one of those that are looked at."""
        return (trainer.batch - 1) % max(1, (trainer.batches or 100) // self.samples) == 0

    def wants_gradients(self, trainer: Trainer) -> bool:
        return self.samples_batch(trainer)

    def on_gradients(self, trainer: Trainer) -> None:
        self._before = None
        if self.samples_batch(trainer):
            self._before = [p._data.copy() for group in self._layers.values() for p in group]
            for layer, group in self._layers.items():
                self._sums[layer][0] += norm(p.grad._data for p in group if p.grad is not None)

    def on_batch_end(self, trainer: Trainer) -> None:
        if self._before is None:
            return
        old = iter(self._before)
        for layer, group in self._layers.items():
            before = [next(old) for _ in group]
            size = norm(before)
            change = norm(p._data - b for p, b in zip(group, before, strict=True))
            self._sums[layer][1] += change / size if size else math.nan
        self._taken += 1
        self._before = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        for layer, (gradient, ratio) in self._sums.items():
            taken = self._taken or math.nan
            self.gradient_norm[layer].append(gradient / taken)
            self.update_ratio[layer].append(ratio / taken)
        self._begin()

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with one line for each epoch and layer."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["epoch", "layer", "gradient_norm", "update_ratio"])
            for epoch in range(max(map(len, self.gradient_norm.values()), default=0)):
                for layer, norms in self.gradient_norm.items():
                    writer.writerow([epoch + 1, layer, norms[epoch], self.update_ratio[layer][epoch]])

    def state_dict(self) -> dict[str, Any]:
        return {
            "gradient_norm": self.gradient_norm,
            "update_ratio": self.update_ratio,
            "sums": self._sums,
            "taken": self._taken,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gradient_norm, self.update_ratio = state["gradient_norm"], state["update_ratio"]
        self._sums, self._taken = state["sums"], state["taken"]


def layers_of(model: Any) -> dict[str, list[Any]]:
    """The trainable parameters by the module that holds them; a model without modules inside is called ``model``."""
    layers: dict[str, list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layers.setdefault(name.rpartition(".")[0] or "model", []).append(parameter)
    return layers


def norm(arrays: Any) -> float:
    """The Euclidean norm of all entries of some arrays together."""
    return math.sqrt(sum(float(np.vdot(a, a)) for a in arrays))
