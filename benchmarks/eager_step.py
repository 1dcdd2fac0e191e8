"""A full training step in eager mode, with provenance on, against PyTorch eager, one thread. Needs the `peers` extra.

Run it: python benchmarks/eager_step.py
"""

from __future__ import annotations

from harness import interleaved, one_thread, report

one_thread()

from itertools import pairwise

import numpy as np
import torch

import backlit as bl


def perceptron(library, sizes):
    """A stack of linear layers with ReLU between them, in either library."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [library.nn.Linear(fan_in, fan_out), library.nn.ReLU()]
    return library.nn.Sequential(*layers[:-1])


def step_of(library, sizes, batch, criterion, optimizer, target, seed=0):
    """One training step as its users write it: zero_grad, forward, backward, step."""
    rng = np.random.default_rng(seed)
    model = perceptron(library, sizes)
    x = library.tensor(rng.normal(size=(batch, sizes[0])).astype(np.float32))
    y = library.tensor(target(rng))
    optim = optimizer(model.parameters())
    loss_of = criterion()

    def step():
        output = model(x)
        loss = loss_of(output, y)
        optim.zero_grad()
        loss.backward()
        optim.step()

    return step


def main():
    torch.set_num_threads(1)
    small = {
        "sizes": (16, 32, 32, 1),
        "batch": 32,
        "target": lambda rng: rng.normal(size=(32, 1)).astype(np.float32),
    }
    times = interleaved(
        {
            "Backlit": step_of(bl, criterion=bl.nn.MSELoss, optimizer=lambda p: bl.optim.SGD(p, lr=0.01), **small),
            "PyTorch": step_of(
                torch, criterion=torch.nn.MSELoss, optimizer=lambda p: torch.optim.SGD(p, lr=0.01), **small
            ),
        }
    )
    report("16-32-32-1, batch 32, SGD (target: at most 0.50)", times, "PyTorch")
    large = {"sizes": (784, 256, 10), "batch": 32, "target": lambda rng: rng.integers(0, 10, size=32)}
    times = interleaved(
        {
            "Backlit": step_of(bl, criterion=bl.nn.CrossEntropyLoss, optimizer=lambda p: bl.optim.Adam(p), **large),
            "PyTorch": step_of(
                torch, criterion=torch.nn.CrossEntropyLoss, optimizer=lambda p: torch.optim.Adam(p), **large
            ),
            "PyTorch, fused Adam": step_of(
                torch, criterion=torch.nn.CrossEntropyLoss, optimizer=lambda p: torch.optim.Adam(p, fused=True), **large
            ),
        },
        rounds=100,
    )
    report("784-256-10, batch 32, Adam (target: at most 1.00)", times, "PyTorch")


if __name__ == "__main__":
    main()
