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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_several_steps_in_one_function(name: str) -> None:
    def make() -> Any:
        p, q = bl.ones(2, requires_grad=True), bl.full((2,), 2.0, requires_grad=True)
        optimizer = OPTIMIZERS[name]([p, q])

        def step(x: Any) -> Any:
            for both in (False, True, True):
                optimizer.zero_grad()
                ((p * x).pow(2).sum() + ((q * x).pow(2).sum() if both else 0.0)).backward()
                optimizer.step()
            return (p + q).detach() * 1.0

        return step

    eager, compiled = make(), bl.compile(make())
    for i in range(5):
        x = bl.tensor([1.0, 0.5 + i])
        np.testing.assert_allclose(compiled(x).numpy(), eager(x).numpy(), rtol=1e-5, err_msg=f"call {i}")
    assert compiled.reason is None


def test_a_group_that_is_added_is_updated() -> None:
    p, q = bl.ones(2, requires_grad=True), bl.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)

    @bl.compile
    def step(x: Any) -> None:
        p.grad = q.grad = None
        ((p + q) * x).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(bl.ones(2))
    optimizer.add_param_group({"params": [q]})
    for _ in range(3):
        step(bl.ones(2))
    assert (p.tolist(), q.tolist()) == ([-2.0, -2.0], [-0.5, -0.5])


def test_gradients_zeroed_after_the_update_are_zeros() -> None:
    w = bl.ones(2, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)

    @bl.compile
    def step(x: Any) -> None:
        (w * x).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    for i in range(6):
        step(bl.ones(2))
        assert w.grad.tolist() == [0.0, 0.0]
        assert w.tolist() == [0.5 - 0.5 * i] * 2
