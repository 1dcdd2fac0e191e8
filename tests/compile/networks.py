"""Small networks and their training steps, made twice from one seed: to run eagerly, and to compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import backlit as bl

Step = Callable[..., Any]


class Training:
    """A perceptron, its optimizer and its training step, written as users do."""

    def __init__(
        self,
        sizes: Sequence[int] = (3, 7, 2),
        activation: Callable[[], Any] = bl.nn.Tanh,
        loss: Callable[[], Any] = bl.nn.MSELoss,
        optimizer: Callable[..., Any] = bl.optim.Adam,
        dtype: Any = np.float32,
        **options: Any,
    ) -> None:
        bl.manual_seed(1)
        layers: list[Any] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [bl.nn.Linear(fan_in, fan_out, dtype=dtype), activation()]
        self.net = bl.nn.Sequential(*layers[:-1])
        self.optimizer = optimizer(self.net.parameters(), **options)
        self.loss = loss()

    def step(self, x: Any, y: Any) -> Any:
        """zero_grad, forward, backward, step."""
        loss = self.loss(self.net(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> list[np.ndarray]:
        """Parameters and the optimizer's arrays."""
        parameters = [p.detach().numpy() for p in self.net.parameters()]
        held = [t for state in self.optimizer.state.values() for t in state.values()]
        return [*parameters, *[t.numpy() for t in held]]


def batches(count: int, rows: int, features: int, outputs: int, dtype: Any = np.float32, classes: bool = False) -> Any:
    """Random batches."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        x = rng.normal(size=(rows, features)).astype(dtype)
        y = rng.integers(0, outputs, rows) if classes else rng.normal(size=(rows, outputs)).astype(dtype)
        yield bl.tensor(x), bl.tensor(y)
