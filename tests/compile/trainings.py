"""Networks of the usual kinds with training steps as users write them, for whole trainings eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import backlit as bl

nn = bl.nn


class Recurrent(nn.Module):
    """An LSTM whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 12, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, x: Any) -> Any:
        states, _ = self.lstm(x)
        return self.out(states[:, -1])


class Transformer(nn.Module):
    """One block of causal attention over embedded tokens; the next token is predicted everywhere."""

    def __init__(self, vocabulary: int = 11, length: int = 9, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.before, self.between, self.after = (nn.LayerNorm(width) for _ in range(3))
        self.joint, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, x: Any) -> Any:
        batch, length = x.shape
        h = self.tokens(x) + self.places(bl.arange(length))
        parts = self.joint(self.before(h)).chunk(3, dim=-1)
        q, k, v = (part.reshape(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.mixed(seen.transpose(1, 2).reshape(batch, length, -1))
        h = h + self.narrow(nn.functional.gelu(self.wide(self.between(h))))
        return self.out(self.after(h)).flatten(0, 1)


def perceptron() -> Any:
    return nn.Sequential(
        *(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(24, 24), nn.Tanh(), nn.BatchNorm1d(24), nn.Linear(24, 4)),
    )


def convolutional() -> Any:
    """No bias before the batch norm, which takes it away again: its gradient would be nothing but rounding, and Adam
    makes whole steps of that."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 8, 3), nn.ELU(), nn.AvgPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(8, 4)),
    )


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {
    "perceptron": (perceptron, (12, 6), 4),
    "convolutional": (convolutional, (8, 1, 8, 8), 4),
    "transformer": (Transformer, (4, 9), 11),
    "recurrent": (Recurrent, (6, 7, 5), 4),
}
"""By name: what makes the network, the shape of a batch, the number of classes."""

OPTIMIZERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "momentum": (bl.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}),
    "adam": (bl.optim.Adam, {"lr": 0.01}),
    "adamw": (bl.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": (bl.optim.RMSprop, {"lr": 0.003, "momentum": 0.5}),
}

SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda optimizer: bl.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100),
    "adam": lambda optimizer: bl.optim.lr_scheduler.StepLR(optimizer, 30, 0.5),
    "adamw": lambda optimizer: bl.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=101),
    "rmsprop": lambda optimizer: bl.optim.lr_scheduler.ExponentialLR(optimizer, 0.99),
}


class Learner:
    """A network, its optimizer with a schedule, and its training step with clipped gradients."""

    def __init__(self, network: str, optimizer: str) -> None:
        make, self.shape, self.classes = NETWORKS[network]
        kind, options = OPTIMIZERS[optimizer]
        bl.manual_seed(3)
        self.net = make()
        self.optimizer = kind(self.net.parameters(), **options)
        self.schedule = SCHEDULES[optimizer](self.optimizer)

    def step(self, x: Any, y: Any) -> Any:
        """zero_grad, forward, backward, clip, step."""
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        return loss

    def train(self, step: Callable[..., Any], steps: int) -> list[float]:
        """The losses of so many steps; the numbers that dropout draws begin anew."""
        bl.manual_seed(4)
        losses = []
        for x, y in self.batches(steps):
            losses.append(float(step(x, y)))
            self.schedule.step()
        return losses

    def batches(self, count: int) -> Iterator[tuple[Any, Any]]:
        """A few batches, again and again, so that they can be learned."""
        dtype = next(self.net.parameters()).dtype
        for i in range(count):
            rng = np.random.default_rng(i % 4)
            if isinstance(self.net, Transformer):
                x = (rng.integers(0, self.classes, (self.shape[0], 1)) + np.arange(self.shape[1] + 1)) % self.classes
                yield bl.tensor(x[:, :-1]), bl.tensor(x[:, 1:].reshape(-1))
            else:
                x, y = rng.normal(size=self.shape), rng.integers(0, self.classes, self.shape[0])
                yield bl.tensor(x, dtype=dtype), bl.tensor(y)

    def state(self) -> list[np.ndarray]:
        """Parameters, buffers and the optimizer's arrays."""
        held = [t for state in self.optimizer.state.values() for t in state.values()]
        return [t.detach().numpy() for t in (*self.net.state_dict().values(), *held)]
