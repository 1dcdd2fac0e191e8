"""Optimizers that update only some of their parameters: frozen ones, late ones, those with gradients from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl

nn, optim = bl.nn, bl.optim

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.05),
    "momentum": lambda params: optim.SGD(params, lr=0.05, momentum=0.9),
    "Adam": lambda params: optim.Adam(params, lr=0.02),
    "AdamW, amsgrad": lambda params: optim.AdamW(params, lr=0.02, amsgrad=True),
}

SWITCHES: dict[int, Callable[[Any], Any]] = {
    4: lambda net: net[0].requires_grad_(False),
    9: lambda net: net[2].bias.requires_grad_(False),
    12: lambda net: net[0].requires_grad_(True),
    15: lambda net: net[2].bias.requires_grad_(True),
}


def trained(make: Callable[[Any], Any], compiled: bool) -> tuple[list[float], list[Any], Any]:
    bl.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 80), nn.Tanh(), nn.Linear(80, 60))  # large parameters and small ones
    optimizer = make(net.parameters())

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = bl.compile(step) if compiled else step
    x, losses = bl.tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)), []
    for i in range(20):
        SWITCHES.get(i, lambda net: None)(net)
        losses.append(float(run(x)))
    return losses, [p.detach().numpy() for p in net.parameters()], run


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_freezing_and_thawing_while_training(name: str) -> None:
    losses, params, _ = trained(OPTIMIZERS[name], False)
    found, others, step = trained(OPTIMIZERS[name], True)
    np.testing.assert_allclose(found, losses, rtol=2e-5)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(q, p, rtol=2e-4, atol=2e-6)
    assert step.reason is None
    assert len(step._forms.all()) == 5, "one program for each set of parameters and of equal steps"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_that_came_from_outside_is_used(compiled: bool) -> None:
    p, q = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = optim.SGD([p, q], lr=0.5)

    def step(x: Any) -> None:
        (p * x).sum().backward()
        optimizer.step()
        p.grad = None

    run = bl.compile(step) if compiled else step
    for _ in range(3):
        run(bl.ones(2))
    assert q.tolist() == [1.0, 1.0]
    (q * 2).sum().backward()
    run(bl.ones(2))
    assert q.tolist() == [0.0, 0.0]
    run(bl.ones(2))
    assert q.tolist() == [-1.0, -1.0]
    assert p.tolist() == [-1.5, -1.5]
