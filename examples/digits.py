"""The same training, eager and compiled: handwritten digits (bundled), 64-64-10 with ReLU, Adam, batch 32, 40 epochs.

Run it: python examples/digits.py
"""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

import backlit as bl
from backlit import nn
from backlit.datasets import digits

EPOCHS, BATCH = 40, 32


def train(compiled, seed=0, epochs=EPOCHS):
    """Test accuracy, the last loss, and seconds in training."""
    bl.manual_seed(seed)
    data = digits().scaled()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = bl.optim.Adam(model.parameters())

    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = bl.compile(step)
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    for _ in range(epochs):
        order = rng.permutation(len(data.x_train))
        for i in range(0, len(order), BATCH):
            rows = order[i : i + BATCH]
            loss = step(bl.tensor(data.x_train[rows]), bl.tensor(data.y_train[rows]))
    seconds = time.perf_counter() - start
    with bl.no_grad():
        guessed = model(bl.tensor(data.x_test)).argmax(1).numpy()
    return float((guessed == data.y_test).mean()), loss.item(), seconds


def main():
    bl.set_num_threads(1)
    table = Table("seed", "", "test accuracy", "last loss", "seconds", title=__doc__.splitlines()[0])
    for seed in range(3):
        for compiled in (False, True):
            accuracy, loss, seconds = train(compiled, seed)
            name = "compiled" if compiled else "eager"
            table.add_row(str(seed), name, f"{accuracy:.4f}", f"{loss:.5f}", f"{seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
