"""Batch, stochastic and mini-batch descent on one task: time, noise and memory, as a table and a plot.

Run it: python examples/descent_compared.py [picture.png]   (the picture needs the `plot` extra)
"""

import sys
import time
import tracemalloc

import numpy as np
from rich.console import Console
from rich.table import Table

import backlit as bl
from backlit import nn
from backlit.datasets import digits

EPOCHS = 15


def batches(n, size, rng):
    order = rng.permutation(n)
    return [order[i : i + size] for i in range(0, n, size)]


def train(x, y, size, rate, seed=0):
    """Losses of every step and every epoch, seconds, the noise of the step losses, and the peak of traced memory."""
    bl.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = bl.optim.SGD(model.parameters(), lr=rate)
    criterion = nn.CrossEntropyLoss()
    steps, epochs = [], []
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in batches(len(x), size, rng):
            loss = criterion(model(bl.tensor(x[rows])), bl.tensor(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.append(loss.item())
        with bl.no_grad():
            epochs.append(criterion(model(bl.tensor(x)), bl.tensor(y)).item())
    seconds = time.perf_counter() - start
    tracemalloc.start()
    criterion(model(bl.tensor(x[:size])), bl.tensor(y[:size])).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    jumps = np.diff(steps[-len(steps) // 3 :]) / np.sqrt(2)  # differences take the downward trend out
    return {"steps": steps, "epochs": epochs, "seconds": seconds, "noise": float(np.std(jumps)), "peak": peak}


def main():
    data = digits().scaled()
    x, y = data.x_train, data.y_train
    kinds = {"batch": (len(x), 0.5), "mini-batch of 32": (32, 0.2), "stochastic": (1, 0.02)}
    table = Table("descent", "steps", "seconds", "final loss", "noise (σ of step losses)", "peak memory of a step")
    runs = {name: train(x, y, size, rate) for name, (size, rate) in kinds.items()}
    for name, run in runs.items():
        table.add_row(
            name,
            str(len(run["steps"])),
            f"{run['seconds']:.2f}",
            f"{run['epochs'][-1]:.3f}",
            f"{run['noise']:.3f}",
            f"{run['peak'] / 1024:.0f} KiB",
        )
    Console().print(table)
    if len(sys.argv) > 1:
        draw(runs, sys.argv[1])


def draw(runs, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for i, (name, run) in enumerate(runs.items()):
        left.plot(np.arange(1, EPOCHS + 1), run["epochs"], marker="o", label=name)
        look = {"color": f"C{i}", "linewidth": 1.5 - 0.5 * i, "alpha": 1.0 if i < 2 else 0.25, "zorder": 9 - i}
        right.plot(np.linspace(0, EPOCHS, len(run["steps"])), run["steps"], **look)
    left.set(xlabel="epoch", ylabel="loss on all training data", yscale="log")
    right.set(xlabel="epoch", ylabel="loss of each step", yscale="log")
    left.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
