"""Convolutional networks, compiled: the kernel that convolves and pools in one, and the ways around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backlit as bl


def network(kind: str) -> Any:
    bl.manual_seed(2)
    nn = bl.nn
    layers: dict[str, list[Any]] = {
        "pooled": [
            *(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(5, 20, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(20 * 2 * 3, 4)),
        ],
        "plain": [
            *(nn.Conv2d(2, 6, 3, stride=2), nn.Tanh(), nn.Conv2d(6, 4, 2, bias=False)),
            *(nn.Flatten(), nn.Linear(4 * 2 * 4, 4)),
        ],
        "normalised": [
            *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(6 * 3 * 5, 4), nn.LayerNorm(4)),
        ],
        "overlapping": [
            *(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(nn.Flatten(), nn.Linear(3 * 2 * 4, 4)),
        ],
    }
    return nn.Sequential(*layers[kind])


def step_of(net: Any, optimizer: Any) -> Any:
    """A training step of a classifier, written as users do."""

    def step(x: Any, y: Any) -> Any:
        loss = bl.nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("kind", ["pooled", "plain", "normalised", "overlapping"])
def test_equals_the_eager_step(kind: str) -> None:
    rng = np.random.default_rng(0)
    nets = [network(kind) for _ in range(2)]
    steps = [step_of(net, bl.optim.SGD(net.parameters(), lr=0.05)) for net in nets]
    compiled = bl.compile(steps[1])
    for _ in range(5):
        x = bl.tensor(rng.normal(size=(6, 2, 8, 12)).astype(np.float32))
        y = bl.tensor(rng.integers(0, 4, 6))
        np.testing.assert_allclose(float(compiled(x, y)), float(steps[0](x, y)), rtol=1e-4)
    for p, q in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-3, atol=1e-5)
