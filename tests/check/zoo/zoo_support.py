"""What the trainings of the zoo share: variants, made-up data, and a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import backlit as bl
from backlit import nn, optim
from backlit.datasets import digits, moons
from backlit.utils.data import DataLoader, TensorDataset

Situation = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One form of a training: its seed, the width of the layers, how many rows, and the optimizer's kind."""

    seed: int = 0
    width: int = 32
    rows: int = 400
    adam: bool = True


VARIANTS = (Variant(), Variant(1, 16, 600, False), Variant(2, 64, 300, True))

SICK: dict[str, tuple[Callable[[Variant], Situation], tuple[str, ...]]] = {}
HEALTHY: dict[str, Callable[[Variant], Situation]] = {}


def sick(*kinds: str):
    """A training with a fault; any of the kinds is the right verdict."""

    def enter(make):
        SICK[make.__name__] = (make, kinds)
        return make

    return enter


def healthy(make):
    """A training without a fault."""
    HEALTHY[make.__name__] = make
    return make


def blobs(v: Variant, classes: int = 3, features: int = 8, spread: float = 0.7, rows: int | None = None):
    """Rows around one centre for each class; (training, validation), standardized by the training rows."""
    rng = np.random.default_rng(v.seed)
    rows = rows or v.rows
    centres = rng.normal(size=(classes, features))
    y = rng.integers(0, classes, rows + 200)
    x = centres[y] + spread * rng.normal(size=(rows + 200, features))
    mean, deviation = x[:rows].mean(axis=0), x[:rows].std(axis=0)
    x = ((x - mean) / deviation).astype(np.float32)
    return (x[:rows], y[:rows]), (x[rows:], y[rows:])


def waves(v: Variant, features: int = 4, noise: float = 0.1):
    """A smooth function of a few features, with noise; (training, validation), targets of shape (N, 1)."""
    rng = np.random.default_rng(v.seed)
    x = rng.normal(size=(v.rows + 200, features)).astype(np.float32)
    y = np.sin(x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3] + noise * rng.normal(size=(len(x), 1))
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    return (x[: v.rows], y[: v.rows]), (x[v.rows :], y[v.rows :])


def half_moons(v: Variant):
    """Two classes in the plane, standardized."""
    data = moons(v.rows, noise=0.15, seed=v.seed)
    mean, deviation = data.x_train.mean(axis=0), data.x_train.std(axis=0)
    return ((data.x_train - mean) / deviation, data.y_train), ((data.x_test - mean) / deviation, data.y_test)


def written_digits(v: Variant):
    """The bundled digits, pixels between 0 and 1."""
    data = digits().scaled()
    order = np.random.default_rng(v.seed).permutation(len(data.x_train))[: 2 * v.rows]
    return (data.x_train[order], data.y_train[order]), (data.x_test, data.y_test)


def perceptron(*widths: int, activation=nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def optimizer_of(v: Variant, parameters, lr: float | None = None, **options):
    """Adam, or gradient descent with momentum, at a good rate unless one is given."""
    if v.adam:
        return optim.Adam(parameters, lr=lr or 5e-3, **options)
    return optim.SGD(parameters, lr=lr or 0.05, momentum=0.9, **options)


def loader(data, batch_size: int = 32, shuffle: bool = True) -> DataLoader:
    """Batches of a pair of arrays."""
    return DataLoader(TensorDataset(*map(bl.tensor, data)), batch_size=batch_size, shuffle=shuffle)


def train(model, data, loss, optimizer, epochs: int = 15, validation=None) -> dict[str, list[float]]:
    """The loop of the textbook; returns the mean losses of the epochs."""
    history: dict[str, list[float]] = {"loss": []}
    if validation is not None:
        history["val_loss"] = []
    for _ in range(epochs):
        model.train()
        losses = []
        for x, y in data:
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            losses.append(value.item())
        history["loss"].append(float(np.mean(losses)))
        if validation is not None:
            history["val_loss"].append(evaluated(model, validation, loss))
    return history


def evaluated(model, data, loss) -> float:
    """The loss in evaluation mode."""
    model.eval()
    with bl.no_grad():
        return loss(model(bl.tensor(data[0])), bl.tensor(data[1])).item()


def situation(model, data, loss, optimizer=None, history=None, validation=None) -> Situation:
    """What ``diagnose`` is given."""
    names = ("model", "data", "loss", "optimizer", "history", "validation")
    return dict(zip(names, (model, data, loss, optimizer, history, validation), strict=True))
