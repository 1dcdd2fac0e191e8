"""Steps whose regions are shared out among threads: the same results as on one, and the same bits each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from guarded import guards
from networks import Training, batches
from test_convolutional_step import network, step_of
from test_operations import NAMES, READS_VALUES, check

import backlit as bl
from backlit.compile.assemble import regions
from backlit.compile.runtime import pool
from turns import turn

pytestmark = pytest.mark.usefixtures("planned_anew")

COMPILED = [name for name in NAMES if name not in READS_VALUES]


@pytest.fixture(autouse=True)
def everything_is_worth_sharing(monkeypatch: pytest.MonkeyPatch, number_of_threads: Any) -> Iterator[None]:
    monkeypatch.setattr(regions, "WORTH_SHARING", 0.0)
    monkeypatch.setattr(regions, "WORTH_THREADS", 0.0)
    yield
    pool.close()


def shared(step: Any) -> list[int]:
    return [region.parts for region in step._latest().executable.built.regions]


@pytest.mark.parametrize("name", COMPILED[::6])
def test_operations(name: str) -> None:
    bl.set_num_threads(3)
    check(name, np.float64, 1e-10, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", turn(COMPILED, 7))
def test_all_operations(name: str, count: int) -> None:
    bl.set_num_threads(count)
    check(name, np.float64, 1e-10, 1e-12)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("optimizer", [bl.optim.SGD, bl.optim.Adam])
def test_perceptrons(count: int, optimizer: Any) -> None:
    eager, compiled = (
        Training((20, 37, 50, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss, optimizer, lr=0.01) for _ in range(2)
    )
    bl.set_num_threads(count)
    step = bl.compile(compiled.step)
    for x, y in batches(10, 33, 20, 4, classes=True):
        np.testing.assert_allclose(float(step(x, y)), float(eager.step(x, y)), rtol=1e-4)
    for a, b in zip(eager.state(), compiled.state(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)
    assert max(shared(step)) == count


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), [(256, 784, 64), (300, 1300, 48), (40, 600, 256)])
def test_long_products_whose_columns_are_shared_out(m: int, k: int, n: int, watched: bool) -> None:
    """k is cut into runs; between them each share keeps sums that are not complete yet."""
    rng = np.random.default_rng(0)
    x, w = (bl.tensor(rng.normal(size=shape).astype(np.float32)) for shape in ((m, k), (n, k)))
    bl.set_num_threads(2)
    compiled = bl.compile(lambda x, w: (x @ w.T).relu())
    with guards() if watched else nullcontext():
        for _ in range(3):
            found = compiled(x, w)
    np.testing.assert_allclose(found.numpy(), np.maximum(x.numpy() @ w.numpy().T, 0), rtol=1e-4, atol=1e-3)
    assert max(shared(compiled)) == 2


@pytest.mark.parametrize("count", [2, 4])
def test_products_whose_inner_dimension_of_the_batch_is_shared_out(count: int) -> None:
    """One share computed all matrices, the others none, and what follows did not wait for it."""
    rng = np.random.default_rng(0)
    q, k, v = (bl.tensor(rng.normal(size=shape)) for shape in ((1, 4, 3, 2), (2, 1, 4, 2), (2, 1, 4, 2)))
    bl.set_num_threads(count)

    def attended(q: Any, k: Any, v: Any) -> Any:
        return ((q * 0.3) @ k.mT).softmax(-1) @ v

    compiled = bl.compile(attended)
    for _ in range(5):
        np.testing.assert_allclose(compiled(q, k, v).numpy(), attended(q, k, v).numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["pooled", "plain", "normalised", "overlapping"])
def test_convolutional_networks(kind: str) -> None:
    bl.set_num_threads(3)
    rng = np.random.default_rng(0)
    nets = [network(kind) for _ in range(2)]
    steps = [step_of(net, bl.optim.Adam(net.parameters(), lr=0.01)) for net in nets]
    compiled = bl.compile(steps[1])
    for _ in range(5):
        x = bl.tensor(rng.normal(size=(7, 2, 8, 12)).astype(np.float32))
        y = bl.tensor(rng.integers(0, 4, 7))
        np.testing.assert_allclose(float(compiled(x, y)), float(steps[0](x, y)), rtol=1e-4)


def run_of(count: int, rounds: int) -> list[bytes]:
    training = Training((20, 64, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    bl.set_num_threads(count)
    step = bl.compile(training.step)
    losses = [step(x, y).detach().numpy().tobytes() for x, y in batches(rounds, 40, 20, 4, classes=True)]
    return losses + [a.tobytes() for a in training.state()]


def test_the_same_bits_each_time() -> None:
    first = run_of(2, 200)
    for _ in range(3):
        assert run_of(2, 200) == first


def test_another_number_of_threads_is_another_program() -> None:
    training = Training((20, 64, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss)
    step = bl.compile(training.step)
    for count in (1, 2, 4, 2):
        bl.set_num_threads(count)
        for x, y in batches(3, 40, 20, 4, classes=True):
            step(x, y)
        assert max(shared(step)) == count


def test_small_steps_use_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bl.set_num_threads(2)
    training = Training((2, 16, 16, 1))
    step = bl.compile(training.step)
    for x, y in batches(3, 100, 2, 1):
        step(x, y)
    assert max(shared(step)) == 1
    assert not step._latest().executable.frame.shared
