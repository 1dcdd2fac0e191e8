"""Loops that write into the place of an operand which nobody needs any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile.assemble.build import Built


def built(function: Any, *arguments: Any) -> Built:
    """A compiled function that was checked against eager mode."""
    compiled = bl.compile(function)
    for _ in range(3):
        np.testing.assert_allclose(compiled(*arguments).numpy(), function(*arguments).numpy(), rtol=1e-4, atol=1e-5)
    return compiled._latest().executable.built


def shared_places(made: Built) -> int:
    """How many values of the arena lie where another one does that was needed until then."""
    offsets = [offset for value, offset in made.arena.offsets.items() if value.name not in ("workspace", "parts")]
    return len(offsets) - len(set(offsets))


DRAWN = np.random.default_rng(0).normal(size=(2, 48, 48)).astype(np.float32)
X, W = bl.tensor(DRAWN[0]), bl.tensor(DRAWN[1] / 7)  # so that products of products stay near 1


def test_a_loop_between_products_needs_no_memory_of_its_own() -> None:
    def between(x: Any) -> Any:
        y = x @ W
        return (y.softmax(-1) @ W) + y.mean()

    made = built(lambda x: (x @ W).softmax(-1) @ W, X)
    assert shared_places(made) >= 1
    assert made.arena.size < built(between, X).arena.size


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ((x @ W) - (x @ W).T.tanh()) @ W,
        lambda x: ((x @ W).tanh() + (x @ W).flip(0)) @ W,
        lambda x: (x @ W).tanh() @ (x @ W),
        lambda x: ((x @ W) - (x @ W).amax(-1, keepdim=True)).tanh() @ W,
        lambda x: ((x @ W)[:24] * 2.0) @ W + ((x @ W)[24:] * 3.0) @ W,
    ],
    ids=["transposed", "reversed", "needed later", "reduced too", "halves"],
)
def test_what_is_still_read_stays(function: Any) -> None:
    built(function, X)


def test_chains_of_loops_stay_in_one_place() -> None:
    def chain(x: Any) -> Any:
        y = x @ W
        for _ in range(3):
            y = y - y.mean(-1, keepdim=True)
            y = y / (1.0 + y.abs().amax(-1, keepdim=True))
        return y @ W

    made = built(chain, X)
    assert made.arena.size < 3 * X.numel() * 4 + 4096


def test_the_gradient_of_a_hidden_layer_is_made_in_the_place_of_its_values() -> None:
    model = bl.nn.Sequential(bl.nn.Linear(48, 64), bl.nn.ReLU(), bl.nn.Linear(64, 10))
    optimizer = bl.optim.Adam(model.parameters())

    @bl.compile
    def step(x: Any) -> Any:
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(X)
    made = step._latest().executable.built
    offsets = [made.arena.offsets[v] for v in made.arena.offsets if v.shape == (48, 64)]
    assert len(offsets) == 2 and len(set(offsets)) == 1, "the weights' gradient, which needs the values too, goes first"
