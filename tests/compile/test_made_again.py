"""Normalised rows are made again for the backward pass where that saves memory, and only there."""

import numpy as np
import pytest

import backlit as bl
from backlit.compile.leaves.normalization import Normalize
from backlit.compile.passes import pipeline
from backlit.compile.passes.made_again import with_cheap_results_made_again

ROWS, WIDTH = 256, 64

pytestmark = pytest.mark.usefixtures("planned_anew", "one_thread")


class Block(bl.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = bl.nn.LayerNorm(WIDTH)
        self.wide = bl.nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + bl.tanh(self.wide(self.norm(x)))


def trained(depth, rows=ROWS, steps=3, norm_trains=True):
    """A compiled training step and its losses, the same eagerly, and the weights that both end with."""
    found = []
    for compiled in (True, False):
        bl.manual_seed(0)
        net = bl.nn.Sequential(*[Block() for _ in range(depth)])
        for block in net:
            block.norm.requires_grad_(norm_trains)
        optimizer = bl.optim.SGD(net.parameters(), lr=0.1)
        x = bl.tensor(np.random.default_rng(1).normal(size=(rows, WIDTH)).astype(np.float32))

        def step(x, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = bl.compile(step) if compiled else step
        losses = [float(run(x)) for _ in range(steps)]
        found.append((run, losses, [p.numpy(force=True).copy() for p in net.parameters()]))
    (run, losses, weights), (_, wanted, wanted_weights) = found
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    for a, b in zip(weights, wanted_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    return run._latest().executable.built


def leaves(built):
    return sum(isinstance(i.params.get("leaf"), Normalize) for i in built.program.body)


def test_less_memory_and_the_same_numbers(monkeypatch):
    again = trained(6)
    monkeypatch.setattr(pipeline, "PASSES", [p for p in pipeline.PASSES if p is not with_cheap_results_made_again])
    kept = trained(6)
    assert (leaves(again), leaves(kept)) == (12, 6)
    assert again.arena.size <= kept.arena.size - 4 * ROWS * WIDTH * 4


def test_two_threads_would_save_nothing(number_of_threads):
    number_of_threads(2)
    assert leaves(trained(6)) == 6


def test_small_results_are_kept():
    assert leaves(trained(2, rows=16)) == 2


def test_results_that_leave_are_kept():
    norm, wide = bl.nn.LayerNorm(WIDTH), bl.nn.Linear(WIDTH, WIDTH)
    x = bl.tensor(np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32), requires_grad=True)

    @bl.compile
    def run(x):
        y = norm(x)
        loss = (wide(y) ** 2).sum()
        loss.backward()
        return y.detach()

    for _ in range(2):
        y = run(x)
    np.testing.assert_allclose(y.numpy(), norm(x).numpy(force=True), atol=1e-5)
    assert leaves(run._latest().executable.built) == 1


def test_without_a_backward_pass_nothing_is_made_twice():
    norm, wide = bl.nn.LayerNorm(WIDTH), bl.nn.Linear(WIDTH, WIDTH)
    x = bl.tensor(np.ones((ROWS, WIDTH), np.float32))

    @bl.compile
    def run(x):
        with bl.no_grad():
            y = norm(x)
            return wide(y) + y

    for _ in range(2):
        run(x)
    assert leaves(run._latest().executable.built) == 1


def test_it_waits_for_the_backward_pass():
    built = trained(4)
    order = [g.members[0] for g in built.order.groups]
    norms = [i for i, m in enumerate(order) if isinstance(m.params.get("leaf"), Normalize)]
    assert len(norms) == 8
    first_gradient = min(i for i, m in enumerate(order) if type(m.mark).__name__ == "OfGradient")
    assert sum(i > first_gradient for i in norms) == 4
