"""A compiled function sees the world as it is at each call: variables, modules, modes, layouts."""

from __future__ import annotations

from typing import Any

import numpy as np

import backlit as bl

scale = bl.tensor(2.0)
factor = 3.0


def scaled(x: Any) -> Any:
    return x * scale * factor


def test_globals_are_read_anew(monkeypatch: Any) -> None:
    compiled, x = bl.compile(scaled), bl.tensor([1.0, 2.0])
    for _ in range(2):
        assert compiled(x).tolist() == [6.0, 12.0]
    monkeypatch.setitem(globals(), "scale", bl.tensor(5.0))
    assert compiled(x).tolist() == [15.0, 30.0]
    monkeypatch.setitem(globals(), "factor", 1.0)
    for _ in range(2):
        assert compiled(x).tolist() == [5.0, 10.0]


def test_closures_are_read_anew() -> None:
    held = bl.tensor([1.0, 1.0])

    @bl.compile
    def total(x: Any) -> Any:
        return (x * held).sum()

    x = bl.tensor([2.0, 3.0])
    assert [float(total(x)) for _ in range(2)] == [5.0, 5.0]
    held = bl.tensor([10.0, 1.0])
    assert float(total(x)) == 23.0
    with bl.no_grad():
        held += 1.0
    assert float(total(x)) == 28.0


def test_training_mode_and_settings_of_modules() -> None:
    bl.manual_seed(0)
    net = bl.nn.Sequential(bl.nn.Linear(4, 4), bl.nn.Dropout(0.5))
    x = bl.ones(8, 4)
    compiled = bl.compile(lambda x: net(x))
    with bl.no_grad():
        for mode in (True, False, True, False):
            net.train(mode)
            for _ in range(2):
                bl.manual_seed(5)
                a = net(x)
                bl.manual_seed(5)
                np.testing.assert_allclose(compiled(x).numpy(), a.numpy(), rtol=1e-6)
        net.train()
        net[1].p = 0.1
        bl.manual_seed(5)
        a = net(x)
        bl.manual_seed(5)
        np.testing.assert_allclose(compiled(x).numpy(), a.numpy(), rtol=1e-6)


def test_dropout_draws_as_eagerly_step_after_step() -> None:
    net = bl.nn.Dropout(0.5)
    x = bl.ones(50)
    compiled = bl.compile(lambda x: net(x))
    bl.manual_seed(1)
    eager = [net(x).tolist() for _ in range(4)]
    bl.manual_seed(1)
    assert [compiled(x).tolist() for _ in range(4)] == eager


def test_arguments_of_other_layouts_and_dtypes() -> None:
    compiled = bl.compile(lambda x, y: (x @ y).sum(0) + x.mean())
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 5)), rng.normal(size=(5, 6))
    for x, y in ((a, b), (b.T, a.T), (a[::-1], b[:, ::-1]), (a.astype(np.float32), b.astype(np.float32))):
        for _ in range(2):
            found = compiled(bl.tensor(x.copy()) if x is a else bl.Tensor(x), bl.Tensor(y))
            np.testing.assert_allclose(found.numpy(), (x @ y).sum(0) + x.mean(), rtol=1e-5)


def test_writes_to_arguments_and_views() -> None:
    @bl.compile
    def update(x: Any, y: Any) -> Any:
        with bl.no_grad():
            x[1:] += y
            x.mul_(2.0)
        return x.sum()

    for _ in range(3):
        x = bl.tensor([1.0, 2.0, 3.0])
        version = x._version
        assert float(update(x, bl.tensor([10.0, 20.0]))) == 72.0
        assert x.tolist() == [2.0, 24.0, 46.0]
        assert x._version > version


def test_a_transposed_write_into_itself() -> None:
    @bl.compile
    def turn(x: Any) -> None:
        with bl.no_grad():
            x.copy_(x.T + 1.0)

    for _ in range(3):
        x = bl.tensor([[1.0, 2.0], [3.0, 4.0]])
        turn(x)
        assert x.tolist() == [[2.0, 4.0], [3.0, 5.0]]


def test_structures_come_back_as_they_went() -> None:
    compiled = bl.compile(lambda pair, *, add: {"sum": pair[0] + pair[1] + add, "first": pair[0], "name": "x"})
    for _ in range(3):
        found = compiled((bl.tensor(1.0), bl.tensor(2.0)), add=4.0)
        assert (float(found["sum"]), float(found["first"]), found["name"]) == (7.0, 1.0, "x")
    assert float(compiled((bl.tensor(1.0), bl.tensor(2.0)), add=5.0)["sum"]) == 8.0
