"""Two classics:
the three-arm spiral (softmax classifier against one hidden layer), and two moons with a max-margin loss.

Run it: python examples/small_tasks.py
"""

import numpy as np
from rich.console import Console

import backlit as bl
from backlit import nn
from backlit.datasets import moons, spirals


def spiral(hidden, steps, rate, seed=0, penalty=1e-3):
    """Training accuracy on the three-arm spiral, full-batch descent with ½λΣw² on the weights (CS231n's case study)."""
    bl.manual_seed(seed)
    data = spirals(points_per_class=100, classes=3, noise=0.2, seed=seed, test_fraction=0.0)
    x, y = bl.tensor(data.x_train, dtype=bl.float32), bl.tensor(data.y_train)
    model = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 3)) if hidden else nn.Linear(2, 3)
    optimizer = bl.optim.SGD(model.parameters(), lr=rate)
    weights = [p for p in model.parameters() if p.ndim == 2]
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y) + 0.5 * penalty * sum((w * w).sum() for w in weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float((model(x).argmax(1) == y).float().mean().item())


def two_moons(steps=100, seed=1337):
    """Training accuracy of a 2-16-16-1 network on two moons: max(0, 1 − t·s) and an L2 penalty, full-batch steps."""
    bl.manual_seed(seed)
    data = moons(n=100, noise=0.1, seed=1, test_fraction=0.0)
    x, t = bl.tensor(data.x_train, dtype=bl.float32), bl.tensor(2.0 * data.y_train - 1.0, dtype=bl.float32)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = bl.optim.SGD(model.parameters(), lr=1.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.0 - 0.9 * step / steps
        scores = model(x).squeeze(-1)
        penalty = 1e-4 * sum((p * p).sum() for p in model.parameters())
        loss = bl.relu(1 - t * scores).mean() + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(((model(x).squeeze(-1) > 0) == (t > 0)).float().mean().item())


def main():
    console = Console()
    linear = np.mean([spiral(0, 200, 1.0, seed) for seed in range(3)])
    console.print(f"spiral, softmax classifier:             {linear:.3f}  (about 0.5)")
    console.print(f"spiral, one hidden layer of 100:        {spiral(100, 10_000, 1.0):.3f}  (at least 0.98)")
    console.print(f"two moons, 2-16-16-1, max-margin, 100 steps: {two_moons():.3f}  (1.000)")


if __name__ == "__main__":
    main()
