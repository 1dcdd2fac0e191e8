"""Gradients by hand, numerically and automatically, side by side: error and time of each.

Losses: mean squared error, binary and categorical cross-entropy, L1, and a softmax classifier with L1 and L2
regularization. Run it: python examples/gradients_three_ways.py
"""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

import backlit as bl
import backlit.nn.functional as F

rng = np.random.default_rng(0)
N, D, C = 64, 20, 5
X = rng.normal(size=(N, D))
LABELS = rng.integers(0, C, size=N)
ONE_HOT = np.eye(C)[LABELS]
TARGETS = rng.normal(size=(N, C))
BINARY = (rng.random((N, C)) < 0.5).astype(float)
LAMBDA = 0.01


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# Each problem: the loss of the weights by the library, and its gradient by hand. All use scores Z = X W.
PROBLEMS = {
    "mean squared error": (
        lambda w: F.mse_loss(bl.tensor(X) @ w, bl.tensor(TARGETS)),
        lambda w: X.T @ (2 * (X @ w - TARGETS)) / (N * C),
    ),
    "L1": (
        lambda w: F.l1_loss(bl.tensor(X) @ w, bl.tensor(TARGETS)),
        lambda w: X.T @ np.sign(X @ w - TARGETS) / (N * C),
    ),
    "binary cross-entropy": (
        lambda w: F.binary_cross_entropy_with_logits(bl.tensor(X) @ w, bl.tensor(BINARY)),
        lambda w: X.T @ (1 / (1 + np.exp(-(X @ w))) - BINARY) / (N * C),
    ),
    "categorical cross-entropy": (
        lambda w: F.cross_entropy(bl.tensor(X) @ w, bl.tensor(LABELS)),
        lambda w: X.T @ (softmax(X @ w) - ONE_HOT) / N,
    ),
    "softmax classifier + λΣw²": (
        lambda w: F.cross_entropy(bl.tensor(X) @ w, bl.tensor(LABELS)) + LAMBDA * (w**2).sum(),
        lambda w: X.T @ (softmax(X @ w) - ONE_HOT) / N + 2 * LAMBDA * w,
    ),
    "softmax classifier + λΣ|w|": (
        lambda w: F.cross_entropy(bl.tensor(X) @ w, bl.tensor(LABELS)) + LAMBDA * w.abs().sum(),
        lambda w: X.T @ (softmax(X @ w) - ONE_HOT) / N + LAMBDA * np.sign(w),
    ),
}


def automatic(loss, w):
    leaf = bl.tensor(w, requires_grad=True)
    loss(leaf).backward()
    return leaf.grad.numpy()


def numerical(loss, w, h=1e-5):
    gradient = np.empty_like(w)
    for index in np.ndindex(*w.shape):
        up, down = w.copy(), w.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (loss(bl.tensor(up)).item() - loss(bl.tensor(down)).item()) / (2 * h)
    return gradient


def timed(function, *args):
    function(*args)
    start = time.perf_counter()
    result = function(*args)
    return result, (time.perf_counter() - start) * 1e3


def main():
    table = Table(
        "loss", "by hand ms", "automatic ms", "error", "numerical ms", "error", title="one gradient, three ways"
    )
    w = rng.normal(size=(D, C)) * 0.3
    for name, (loss, by_hand) in PROBLEMS.items():
        exact, t_hand = timed(by_hand, w)
        auto, t_auto = timed(automatic, loss, w)
        numeric, t_num = timed(numerical, loss, w)
        errors = [np.abs(g - exact).max() / np.abs(exact).max() for g in (auto, numeric)]
        table.add_row(name, f"{t_hand:.3f}", f"{t_auto:.3f}", f"{errors[0]:.0e}", f"{t_num:.1f}", f"{errors[1]:.0e}")
        if errors[0] > 1e-12 or errors[1] > 1e-6:
            raise SystemExit(f"{name}: the three gradients disagree ({errors})")
    Console().print(table)


if __name__ == "__main__":
    main()
