"""Products with one column, as the last layer of a regression has them: computed as one row, with what follows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import backlit as bl

pytestmark = pytest.mark.usefixtures("planned_anew")


@pytest.fixture(params=[1, 2])
def on_threads(request: pytest.FixtureRequest, number_of_threads: Callable[[int], None]) -> None:
    number_of_threads(request.param)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


@pytest.mark.usefixtures("on_threads")
@pytest.mark.parametrize(("rows", "inputs"), [(1, 3), (5, 1), (100, 16), (300, 700), (40_000, 9)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_step_of_a_layer_with_one_output(rows: int, inputs: int, turned: bool) -> None:
    """Bias, activation, loss and their gradients behind the product; its left side as it is, or transposed."""
    x = bl.tensor(numbers(inputs, rows) if turned else numbers(rows, inputs))
    y = bl.tensor(numbers(rows, 1))

    def trained(compiled: bool) -> list[np.ndarray]:
        bl.manual_seed(0)
        layer = bl.nn.Linear(inputs, 1)
        optimizer = bl.optim.Adam(layer.parameters(), lr=1e-2)

        def step(x: bl.Tensor, y: bl.Tensor) -> bl.Tensor:
            optimizer.zero_grad()
            out = bl.relu(layer(x.T if turned else x))
            loss = ((out - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return bl.cat([out.sum(0), loss.reshape(1)]).detach()

        run = bl.compile(step) if compiled else step
        results = [run(x, y).numpy() for _ in range(4)]
        assert not compiled or "product" in str(run.plan())
        return [*results, *(p.detach().numpy().copy() for p in layer.parameters())]

    for native, eager in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(native, eager, rtol=2e-4, atol=2e-5)


@pytest.mark.usefixtures("on_threads")
def test_columns_of_a_batch_of_matrices() -> None:
    a, b = bl.tensor(numbers(3, 50, 20)), bl.tensor(numbers(3, 20, 1))
    function = bl.compile(lambda a, b: bl.relu(a @ b + 1.0))
    for _ in range(3):
        np.testing.assert_allclose(function(a, b).numpy(), bl.relu(a @ b + 1.0).numpy(), rtol=1e-4, atol=1e-5)


def test_infinity_and_nan_stay_in_their_rows() -> None:
    a, b = numbers(30, 12), bl.tensor(numbers(12, 1))
    a[3, 4], a[7, 0], a[9, 11] = np.inf, np.nan, -np.inf
    function = bl.compile(lambda a, b: (a @ b) * 2.0)
    for _ in range(3):
        np.testing.assert_allclose(function(bl.tensor(a), b).numpy(), 2.0 * (a @ b.numpy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [3, 13, 40])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, r: ((x @ w - r[:, :1]) ** 2).mean(),
        lambda x, w, r: x @ w + r[:, 2:3].flip(0),
        lambda x, w, r: (x @ w + r[:, 4:]) > 0,
        lambda x, w, r: (r.clone()[:, 1:2].add_(x @ w) * 2, r.sum(1)),
    ],
    ids=["column of a matrix", "flipped", "condition", "written to a column"],
)
def test_what_follows_may_lie_in_columns_of_a_matrix(function: Callable[..., bl.Tensor], rows: int) -> None:
    """Which has no neighbours from row to row, so that the product stays a column."""
    given = [bl.tensor(numbers(*shape)) for shape in ((rows, 20), (20, 1), (rows, 5))]
    compiled = bl.compile(function)
    wanted = function(*given)
    for _ in range(3):
        found = compiled(*given)
        for a, b in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_a_column_of_a_matrix_is_written_in_place() -> None:
    x, w, r = (bl.tensor(numbers(*shape)) for shape in ((13, 20), (20, 1), (13, 5)))
    wanted = r.numpy().copy()

    @bl.compile
    def add(x: bl.Tensor, w: bl.Tensor) -> None:
        r[:, 1:2].add_(x @ w)

    for _ in range(4):
        add(x, w)
        wanted[:, 1:2] += x.numpy() @ w.numpy()
    np.testing.assert_allclose(r.numpy(), wanted, rtol=1e-4, atol=1e-4)
