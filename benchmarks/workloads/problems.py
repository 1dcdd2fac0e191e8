"""What is trained: the network, the batch, and the share of the best peer's time that is aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

VOCABULARY, CONTEXT = 65, 64
"""Of the GPT in examples/shakespeare.py."""


@dataclass(frozen=True)
class Problem:
    """A training step with Adam: ``kind`` of network, its ``sizes`` (see :func:`build`), and the batch.

    ``aims`` are the wanted times over the best peer's, with one and with two threads.
    """

    kind: str
    sizes: tuple[int, ...]
    batch: int
    aims: tuple[float, float]

    def data(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A batch of inputs and targets."""
        rng = np.random.default_rng(seed)
        if self.kind == "gpt":
            text = rng.integers(0, VOCABULARY, (self.batch, CONTEXT + 1))
            return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])
        if self.kind == "tanh":
            inputs = rng.normal(size=(self.batch, self.sizes[0])).astype(np.float32)
            return inputs, np.prod(np.sign(inputs), axis=1, keepdims=True, dtype=np.float32)
        shape = (self.batch, *self.sizes[:3]) if self.kind == "cnn" else (self.batch, self.sizes[0])
        return rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, self.batch)


PROBLEMS: dict[str, Problem] = {
    "2-16-16-1 tanh, batch 100": Problem("tanh", (2, 16, 16, 1), 100, (0.25, 0.25)),
    "784-256-10, batch 32": Problem("relu", (784, 256, 10), 32, (0.60, 0.55)),
    "784-256-10, batch 256": Problem("relu", (784, 256, 10), 256, (0.80, 0.72)),
    "784-256-10, batch 1024": Problem("relu", (784, 256, 10), 1024, (0.88, 0.77)),
    "784-1024-1024-10, batch 128": Problem("relu", (784, 1024, 1024, 10), 128, (0.85, 0.80)),
    "CNN 1x28x28, batch 64": Problem("cnn", (1, 28, 28, 16, 32, 128), 64, (0.30, 0.30)),
    "CNN 3x32x32, batch 64": Problem("cnn", (3, 32, 32, 32, 64, 256), 64, (0.45, 0.45)),
    "GPT 4 layers, batch 12": Problem("gpt", (), 12, (0.70, 0.60)),
}


def build(lib: Any, problem: Problem) -> Any:
    """The network in the words that Backlit and PyTorch share.

    ``sizes`` are the widths of a perceptron, or of a convolutional network the input's channels, height and width, the
    channels of its two layers and the width of the dense layer.
    """
    nn = lib.nn
    if problem.kind == "gpt":
        return _shakespeare().gpt(lib, VOCABULARY)
    if problem.kind == "cnn":
        channels, height, width, first, second, dense = problem.sizes
        return nn.Sequential(
            nn.Conv2d(channels, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * (height // 4) * (width // 4), dense),
            nn.ReLU(),
            nn.Linear(dense, 10),
        )
    layers: list[Any] = []
    for fan_in, fan_out in pairwise(problem.sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh() if problem.kind == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss_in(lib: Any, problem: Problem, model: Any, inputs: Any, targets: Any) -> Any:
    """Mean squared error or mean cross-entropy, as the problem has it."""
    outputs = model(inputs)
    if problem.kind == "tanh":
        return lib.nn.functional.mse_loss(outputs, targets)
    return lib.nn.functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


def _shakespeare() -> Any:
    import importlib.util
    import pathlib
    import sys

    if "shakespeare" in sys.modules:
        return sys.modules["shakespeare"]
    path = pathlib.Path(__file__).parents[2] / "examples" / "shakespeare.py"
    spec = importlib.util.spec_from_file_location("shakespeare", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["shakespeare"] = importlib.util.module_from_spec(spec)  # torch.compile looks it up by name
    spec.loader.exec_module(module)
    return module


def weights(problem: Problem, seed: int = 0) -> dict[str, np.ndarray]:
    """The weights that every engine starts from, by PyTorch's names."""
    import backlit as bl

    bl.manual_seed(seed)
    return {name: p.numpy(force=True).copy() for name, p in build(bl, problem).named_parameters()}
