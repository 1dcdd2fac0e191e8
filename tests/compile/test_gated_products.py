"""Steps whose products pass over the zeros of ReLU: the same as eager, whatever comes in."""

import numpy as np
import pytest

import backlit as bl
from backlit.compile.codegen import gemm_plan
from backlit.compile.codegen.target import host_target

pytestmark = pytest.mark.usefixtures("planned_anew")


@pytest.fixture(params=[1, 2])
def on_threads(request, number_of_threads):
    number_of_threads(request.param)


@pytest.fixture(autouse=True)
def small_too(monkeypatch):
    for name in ("_MANY_ROWS", "_WIDE", "_LONG"):
        monkeypatch.setattr(gemm_plan, name, 0)
    monkeypatch.setattr(gemm_plan, "_LISTED_BYTES", 2048)


def trained(compiled, x, y, steps=6):
    """Losses and parameters of a network with two hidden layers, and the function that trained it."""
    bl.manual_seed(0)
    net = bl.nn.Sequential(
        *(bl.nn.Linear(20, 48), bl.nn.ReLU(), bl.nn.Linear(48, 33), bl.nn.ReLU(), bl.nn.Linear(33, 4))
    )
    optimizer = bl.optim.Adam(net.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = bl.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = bl.compile(step) if compiled else step
    losses = [run(x, y).item() for _ in range(steps)]
    return losses, [p.numpy(force=True).copy() for p in net.parameters()], run


def by_lists(run):
    """How many products of a compiled step have lists."""
    built = run._latest().executable.built.whole()
    tasks = [task for piece in built.recipe.stretches["step0"] for task in _tasks(piece)]
    specs = [task.native.spec for task in tasks if hasattr(task.native, "spec")]
    return sum(gemm_plan.plan(spec, host_target()).sparse is not None for spec in specs)


def _tasks(piece):
    if hasattr(piece, "shares"):
        return [task for share in piece.shares for task in share]
    return getattr(piece, "tasks", ())


@pytest.mark.usefixtures("on_threads")
def test_a_training_goes_as_it_does_eagerly():
    rng = np.random.default_rng(0)
    x, y = bl.tensor(rng.standard_normal((40, 20)).astype("float32")), bl.tensor(rng.integers(0, 4, 40))
    (losses, found, run), (wanted_losses, wanted, _) = (trained(compiled, x, y) for compiled in (True, False))
    assert by_lists(run) >= 5, "two forward, two backward to the layers before, and weights' gradients"
    np.testing.assert_allclose(losses, wanted_losses, rtol=1e-5)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("on_threads")
@pytest.mark.parametrize("strange", [np.inf, np.nan])
def test_what_is_not_finite_goes_where_it_goes_eagerly(strange):
    """A gate that is closed hands on zero, and zero times an infinite input is NaN."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 20)).astype("float32"), bl.tensor(rng.integers(0, 4, 40))
    x[7, 3] = strange
    with np.errstate(all="ignore"):
        results = [trained(compiled, bl.tensor(x), y, 1) for compiled in (True, False)]
    (losses, found, _), (wanted_losses, wanted, _) = results
    np.testing.assert_array_equal(np.isnan(losses), np.isnan(wanted_losses))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


VIEWS = {
    "every second column": (lambda h: h[:, ::2], (20, 5)),
    "columns backwards": (lambda h: h.flip(1), (40, 5)),
    "turned": (lambda h: h.T, (30, 5)),
    "taken apart": (lambda h: h.reshape(60, 20), (20, 5)),
    "repeated": (lambda h: h[:1].expand(30, 40), (40, 5)),
}


@pytest.mark.usefixtures("on_threads")
@pytest.mark.parametrize("name", VIEWS)
def test_views_of_what_a_gate_leaves(name):
    view, shape = VIEWS[name]
    x, w = bl.randn(30, 40), bl.randn(*shape)
    f = bl.compile(lambda x: view(x.relu()) @ w)
    for _ in range(2):
        np.testing.assert_allclose(f(x).numpy(), (view(x.relu()) @ w).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("on_threads")
def test_gates_that_are_all_open():
    """Nothing is zero: the products are computed as any others."""
    x = bl.rand(30, 40) + 0.1
    w, v = bl.rand(50, 40), bl.rand(60, 50)

    @bl.compile
    def f(x):
        return (x @ w.T).relu() @ v.T

    for _ in range(2):
        np.testing.assert_allclose(f(x).numpy(), ((x @ w.T).relu() @ v.T).numpy(), rtol=1e-4)
    assert by_lists(f) >= 1
