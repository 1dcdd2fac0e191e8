"""Errors that depend on values, met by native code or by a NumPy rule that it calls: the error is the eager one,
nothing was written, and the next call works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_trainings import count  # noqa: F401  (a fixture)

import backlit as bl
from backlit.errors import OperationError
from backlit.graph import mode

F = bl.nn.functional
Loss = Callable[[Any, Any], Any]


class Task:
    """Two layers; one is trained by a loss that looks at an argument's values, the other by one that never fails."""

    def __init__(self, loss: Loss) -> None:
        bl.manual_seed(0)
        self.first, self.second = bl.nn.Linear(4, 4), bl.nn.Linear(4, 4)
        self.optimizer = bl.optim.Adam([*self.second.parameters(), *self.first.parameters()], lr=0.1)
        self.loss = loss
        self.x = bl.tensor(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))

    def step(self, given: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.second(self.x).square().mean() + self.loss(self.first(self.x), given).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> list[np.ndarray]:
        held = [t for state in self.optimizer.state.values() for t in state.values()]
        return [t.detach().numpy().copy() for t in (*self.optimizer.param_groups[0]["params"], *held)]


def column(values: Any) -> Any:
    return values.reshape(-1, 1).float() * bl.ones(1, 4)


CASES: dict[str, tuple[Loss, list[float], list[float]]] = {
    "embedding": (lambda h, i: F.embedding(i, bl.ones(6, 4)) * h, [0, 1, 2], [0, 1, 9]),
    "indexing": (lambda h, i: h[i], [0, 1, 2], [0, 1, 9]),
    "gather": (lambda h, i: bl.gather(h, 1, i.reshape(-1, 1)), [0, 1, 2], [0, 1, -5]),
    "take": (lambda h, i: bl.take(h, i), [0, 1, 2], [0, 1, 99]),
    "index_add": (lambda h, i: bl.zeros(6, 4).index_add(0, i, h), [0, 1, 2], [0, 1, 9]),
    "one_hot": (lambda h, i: F.one_hot(i, 4).float() * h, [0, 1, 2], [0, 1, 9]),
    "nll_loss": (lambda h, i: F.nll_loss(h, i), [0, 1, 2], [0, 1, 9]),
    "gaussian_nll_loss": (lambda h, i: F.gaussian_nll_loss(h, bl.zeros(3, 4), column(i)), [1, 1, 2], [-1, 1, 2]),
    "binary_cross_entropy": (
        lambda h, i: F.binary_cross_entropy(h.sigmoid() * column(i), bl.ones(3, 4)),
        [1, 1, 1],
        [1, 99, 1],
    ),
    "cov": (lambda h, i: bl.cov(h.T, aweights=i.float()), [1, 1, 2], [-1, 1, 2]),
    "multinomial": (lambda h, i: h * bl.multinomial(i.float(), 1).float(), [1, 1, 2], [-1, 1, 2]),
}
"""By operation: a loss, values that it takes, and values that it refuses."""


@pytest.mark.parametrize("name", CASES)
def test_values_are_refused_as_they_are_eagerly(name: str, count: int) -> None:  # noqa: F811
    loss, good, bad = (CASES[name][0], *[bl.tensor(np.array(v)) for v in CASES[name][1:]])
    with pytest.raises(OperationError) as eager:
        Task(loss).step(bad)
    task = Task(loss)
    step = bl.compile(task.step)
    for _ in range(3):
        step(good)
    before = task.state()
    with pytest.raises(OperationError) as compiled:
        step(bad)
    assert type(compiled.value) is type(eager.value)
    assert name in str(compiled.value)
    told = [re.split(r"\d", str(error.value).split(": ")[-1])[0] for error in (compiled, eager)]
    assert told[0] == told[1]
    for a, b in zip(before, task.state(), strict=True):
        np.testing.assert_array_equal(b, a)
    step(good)
    assert len(step._forms.all()) == 1, "compiled again"
    assert any(not np.array_equal(a, b) for a, b in zip(before, task.state(), strict=True))


def test_nothing_is_written_before_a_call_that_may_raise() -> None:
    """Though the parameters' update comes before it in the function."""
    task = Task(lambda h, i: h)

    def step(weights: Any) -> Any:
        task.step(weights)
        return bl.multinomial(weights, 1)

    compiled, good, bad = bl.compile(step), bl.tensor([1.0, 2.0]), bl.tensor([-1.0, 2.0])
    for _ in range(3):
        compiled(good)
    before = task.state()
    with pytest.raises(OperationError, match="weights must be finite") as raised:
        compiled(bad)
    (note,) = raised.value.__notes__
    assert "multinomial" in note and "return bl.multinomial(weights, 1)" in note
    for a, b in zip(before, task.state(), strict=True):
        np.testing.assert_array_equal(b, a)


class Refuses(bl.autograd.Function):
    """Doubles; its Python code raises in one direction or the other while it is told to."""

    direction = ""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        if Refuses.direction == "forward":
            raise ValueError("refused forward")
        return x * 2.0

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        if Refuses.direction == "backward":
            raise ValueError("refused backward")
        return g * 2.0


@pytest.fixture(params=["forward", "backward"])
def direction(request: Any) -> Iterator[str]:
    yield request.param
    Refuses.direction = ""


def test_an_error_of_the_users_own_node_while_tracing_leaves_nothing_behind(direction: str) -> None:
    eager, task = (Task(lambda h, i: Refuses.apply(h)) for _ in range(2))
    step, given = bl.compile(task.step), bl.tensor([0, 1, 2])
    Refuses.direction = direction
    with pytest.raises(ValueError, match=f"refused {direction}"):
        step(given)
    assert mode.tracer is None and not mode.observers
    Refuses.direction = ""
    for _ in range(4):
        np.testing.assert_allclose(float(step(given)), float(eager.step(given)), rtol=1e-5)
    assert len(step._forms.all()) == 1
