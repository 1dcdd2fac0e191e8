"""What a watched run does once, and not for each parameter, array or operation again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.compile.trace import calls, capture, memory, optimizer, tracer


def step_of(model: Any, optim: Any) -> Any:
    """A training step of a model on squared errors."""

    def step(x: Any, y: Any) -> Any:
        optim.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optim.step()
        return loss

    return step


def batch(rng: np.random.Generator) -> tuple[Any, Any]:
    """Six rows of four, and six answers."""
    return bl.tensor(rng.normal(size=(6, 4)).astype(np.float32)), bl.tensor(rng.normal(size=(6, 3)).astype(np.float32))


def network(layers: int) -> Any:
    """Dense layers with gates between them."""
    bl.manual_seed(0)
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(4, 4), nn.GELU())], nn.Linear(4, 3))


@pytest.mark.parametrize("layers", [1, 6])
def test_an_update_is_written_down_once_for_all_parameters(monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    runs: list[int] = []
    run = optimizer._Rule._run
    monkeypatch.setattr(optimizer._Rule, "_run", lambda *given: runs.append(1) or run(*given))
    model = network(layers)
    bl.compile(step_of(model, bl.optim.AdamW(model.parameters())))(*batch(np.random.default_rng(0)))
    assert len(runs) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: bl.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda ps: bl.optim.Adam(ps, lr=0.1, amsgrad=True, weight_decay=0.1),
        lambda ps: bl.optim.RMSprop(ps, lr=0.01, centered=True),
    ],
)
def test_parameters_of_all_shapes_are_updated_as_in_eager_mode(make: Any) -> None:
    def trained(compiled: bool) -> list[np.ndarray]:
        rng = np.random.default_rng(3)
        kinds = [((), "f4"), ((3,), "f4"), ((2, 3), "f8"), ((), "f4"), ((5, 1), "f4"), ((4,), "f8"), ((), "f8")]
        params = [nn.Parameter(bl.tensor(np.asarray(rng.normal(size=shape), kind))) for shape, kind in kinds]
        optim = make(params)

        def step() -> Any:
            optim.zero_grad()
            loss = sum((bl.sin(p) * p * p).sum().astype("float64") for p in params)
            loss.backward()
            optim.step()
            return loss

        run = bl.compile(step) if compiled else step
        for _ in range(5):
            run()
        return [p.detach().numpy() for p in params]

    for one, other in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-6 if one.dtype == np.float32 else 1e-12, atol=1e-7)


def test_gradient_rules_of_layers_and_gates_run_on_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    applied = tracer.Tracer.applied

    def noted(self: Any, op: Any, *given: Any) -> None:
        if self.in_rule:
            seen.append(op.name)
        applied(self, op, *given)

    monkeypatch.setattr(tracer.Tracer, "applied", noted)
    model = network(3)
    bl.compile(step_of(model, bl.optim.SGD(model.parameters())))(*batch(np.random.default_rng(0)))
    assert not {"linear", "matmul", "permute", "erf", "exp", "mul", "gated"} & set(seen)


def test_an_array_is_asked_for_its_address_once_and_not_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    key = memory.memory_key
    monkeypatch.setattr(memory, "memory_key", lambda array: asked.append(1) or key(array))
    known, array = memory.Memory(), np.zeros((3, 4))
    value: Any = object()
    known.put(array, value)
    for _ in range(10):
        assert known.get(array) is value
        known.wrote(array, value)
    assert len(asked) == 1
    assert known.get(array[:]) is value  # another object that shows the same memory


def test_what_is_known_of_memory_ends_with_its_array() -> None:
    known, value = memory.Memory(), object()
    for _ in range(50):  # addresses and ids are used again
        array = np.zeros((300, 4))
        assert known.get(array) is None
        known.put(array, value)  # type: ignore[arg-type]
        del array


def test_functions_that_nothing_names_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look goes through every object of the process: in a notebook, that are millions."""
    looks: list[int] = []
    referrers = calls.gc.get_referrers
    monkeypatch.setattr(calls.gc, "get_referrers", lambda *codes: looks.append(len(codes)) or referrers(*codes))
    factors = [2.0, 3.0, 4.0]

    class Steps:
        def of_0(self, x: Any) -> Any:
            return x * factors[0]

        def of_1(self, x: Any) -> Any:
            return x * factors[1]

        def of_2(self, x: Any) -> Any:
            return x * factors[2]

    steps = Steps()
    compiled = bl.compile(lambda x: sum(getattr(steps, f"of_{i}")(x) for i in range(3)))
    x = bl.tensor([1.0, 2.0])
    assert compiled(x).tolist() == [9.0, 18.0]
    assert looks == [3]  # one look for all three methods
    factors[1] = 5.0
    assert compiled(x).tolist() == [11.0, 22.0]


def test_what_the_librarys_own_operations_call_is_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    noticed: set[tuple[str, str]] = set()
    hidden = capture.hidden_functions
    monkeypatch.setattr(
        capture,
        "hidden_functions",
        lambda calls, *rest: noticed.update((c.co_filename, c.co_name) for c in calls) or hidden(calls, *rest),
    )
    model = network(2)
    bl.compile(step_of(model, bl.optim.AdamW(model.parameters())))(*batch(np.random.default_rng(0)))
    names = {name for _, name in noticed}
    assert {"step", "__call__", "walk"} <= names
    assert not {"value", "slope_x", "update", "record", "pull_arrays"} & names


own_rate = 0.5


class Plain(bl.optim.Optimizer):
    """Gradient descent whose rule is the program's."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 1.0})

    def slots(self, group: Any) -> dict[str, float]:
        return {}

    def constants(self, group: Any, step: int) -> list[float]:
        return []

    def update(self, group: Any, k: Any, g: Any, p: Any, t: Any, u: Any) -> None:
        np.multiply(g, own_rate, out=t)
        np.subtract(p, t, out=p)


def exchanged(optim: Any, by: Any) -> Any:
    """An optimizer of the library, one of whose methods is the program's."""
    optim.update = by
    return optim


@pytest.mark.parametrize("method", [False, True])
def test_an_optimizers_rule_of_the_program_may_change_what_it_names(method: bool) -> None:
    globals()["own_rate"] = 0.5
    w = bl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    optim = exchanged(bl.optim.SGD([w], lr=1.0), Plain([w]).update) if method else Plain([w])

    def step() -> None:
        optim.zero_grad()
        (w * w).sum().backward()
        optim.step()

    compiled = bl.compile(step)
    for _ in range(3):
        w.data = bl.tensor([1.0, 2.0, 3.0])
        compiled()
        assert w.tolist() == [0.0, 0.0, 0.0]
    globals()["own_rate"] = 1.0
    w.data = bl.tensor([1.0, 2.0, 3.0])
    compiled()
    assert w.tolist() == [-1.0, -2.0, -3.0]


def test_gradients_that_are_handed_on_stay_apart() -> None:
    a, b = (bl.tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))

    def step(x: Any) -> Any:
        a.grad = b.grad = None
        loss = ((a + b) * x).sum()
        loss.backward()
        return loss.detach()

    bl.compile(step)(bl.tensor([1.0, 2.0, 4.0]))
    assert not np.may_share_memory(a.grad._data, b.grad._data)
    a.grad.zero_()
    assert b.grad.tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("layers", [2])
def test_the_watched_run_gives_eager_modes_bits(layers: int) -> None:
    def first(compiled: bool) -> list[Any]:
        model = network(layers)
        step = step_of(model, bl.optim.AdamW(model.parameters(), lr=0.1))
        loss = (bl.compile(step) if compiled else step)(*batch(np.random.default_rng(1)))
        return [loss.item(), *[p.tolist() for p in model.parameters()]]

    assert first(True) == first(False)
