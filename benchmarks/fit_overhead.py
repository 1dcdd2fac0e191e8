"""What `fit` adds to a batch, beside the loop written by hand: epochs take turns, one thread.

Run it: python benchmarks/fit_overhead.py
"""

from __future__ import annotations

import time
from itertools import pairwise

from harness import one_thread

one_thread()

import numpy as np
from rich.console import Console
from rich.table import Table

import backlit as bl
from backlit import nn
from backlit.train import fit

BATCH, BATCHES, ROUNDS = 32, 100, 30
NETWORKS = {"784-256-10": (784, 256, 10), "16-32-32-10": (16, 32, 32, 10)}


def network(widths):
    """A perceptron with ReLU between its layers."""
    layers = [layer for n, m in pairwise(widths) for layer in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def by_hand(model, optimizer, criterion, x, y):
    """Seconds a batch of the PyTorch-shaped loop, batches cut from shuffled data."""
    order = np.random.default_rng(0).permutation(len(x))
    start = time.perf_counter()
    for i in range(0, len(x), BATCH):
        rows = order[i : i + BATCH]
        loss = criterion(model(bl.tensor(x[rows])), bl.tensor(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / BATCHES


def with_fit(model, optimizer, criterion, x, y, metrics):
    """Seconds a batch of ``fit``, as its history has them."""
    history = fit(model, (x, y), loss=criterion, optimizer=optimizer, epochs=1, metrics=metrics, progress=False)
    return history.seconds[0] / BATCHES


def main():
    rng = np.random.default_rng(0)
    table = Table("network", "by hand, µs", "fit adds, µs", "fit with accuracy adds, µs", title="A batch of 32, Adam")
    for name, widths in NETWORKS.items():
        x = rng.random((BATCH * BATCHES, widths[0]), dtype=np.float32)
        y = rng.integers(0, 10, len(x))
        model, criterion = network(widths), nn.CrossEntropyLoss()
        setting = (model, bl.optim.Adam(model.parameters(), lr=1e-5), criterion, x, y)
        times = [
            (by_hand(*setting), with_fit(*setting, []), with_fit(*setting, ["accuracy"])) for _ in range(ROUNDS + 2)
        ]
        hand, plain, accuracy = np.median(times[2:], axis=0) * 1e6
        table.add_row(name, f"{hand:.1f}", f"{plain - hand:.1f}", f"{accuracy - hand:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
