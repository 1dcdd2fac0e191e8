"""Whatever a compiled function's code can reach may change between calls: its results are eager mode's all the same."""

from __future__ import annotations

import itertools
import random
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError

scale = 1.0
shift = bl.tensor([0.0, 0.0])
settings = ModuleType("settings")
settings.factor = 1.0  # type: ignore[attr-defined]


class Scaled(bl.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = bl.nn.Sequential(bl.nn.Linear(2, 2))

    def forward(self, x: Any) -> Any:
        return self.layers(x) * scale + shift


class Plain:
    power = 1.0

    def __init__(self) -> None:
        self.entries: list[Any] = [1.0, bl.tensor([1.0, 1.0])]
        self.named = {"a": 1.0}
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        return self.computed(x)

    def computed(self, x: Any) -> Any:
        x = x * self.entries[0] + self.entries[1] * self.power
        return x * len(self.named) * settings.factor


def rescaled(x: Any) -> Any:
    return x * -1.0


def set_global(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda holder, monkeypatch: monkeypatch.setitem(globals(), name, value)


CHANGES_OF_A_MODULE: dict[str, Callable[[Any, Any], Any]] = {
    "a global number": set_global("scale", 3.0),
    "a global tensor": set_global("shift", bl.tensor([5.0, 7.0])),
    "a layer appended": lambda net, _: net.layers.append(bl.nn.Tanh()),
    "a layer replaced": lambda net, _: net.layers.__setitem__(0, bl.nn.Tanh()),
    "a forward hook": lambda net, _: net.layers.register_forward_hook(lambda module, inputs, out: out * 2.0),
    "a weight replaced": lambda net, _: setattr(net.layers[0], "weight", bl.nn.Parameter(bl.ones(2, 2))),
    "another forward": lambda net, patch: patch.setattr(Scaled, "forward", lambda self, x: x * 4.0),
}

CHANGES_OF_AN_OBJECT: dict[str, Callable[[Any, Any], Any]] = {
    "a number in a list": lambda o, _: o.entries.__setitem__(0, 3.0),
    "a tensor in a list": lambda o, _: o.entries.__setitem__(1, bl.tensor([4.0, 5.0])),
    "a new key": lambda o, _: o.named.update(b=2.0),
    "a class attribute": lambda o, patch: patch.setattr(Plain, "power", 3.0),
    "an attribute in front of it": lambda o, _: setattr(o, "power", 5.0),
    "a method of the object": lambda o, _: setattr(o, "computed", rescaled),
    "a method of the class": lambda o, patch: patch.setattr(Plain, "computed", lambda self, x: x * 9.0),
    "an attribute of a module": lambda o, patch: patch.setattr(settings, "factor", 6.0),
}


@dataclass(slots=True)
class Slotted:
    factor: float = 1.0
    shift: Any = 0.0

    def __call__(self, x: Any) -> Any:
        return x * self.factor + self.shift


class SlottedToo(Slotted):
    """One with a dictionary behind the slots."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 1.0

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) * self.more


CHANGES_OF_SLOTS: dict[str, Callable[[Any, Any], Any]] = {
    "a number": lambda o, _: setattr(o, "factor", 3.0),
    "a tensor": lambda o, _: setattr(o, "shift", bl.tensor([4.0, 5.0])),
    "a tensor in place": lambda o, _: o.shift.add_(2.0),
}

_below = {"a": 1.0}

CONTAINERS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "deque": (deque([1.0, 2.0], maxlen=2), 0, lambda held: held.append(3.0)),
    "UserList": (UserList([1.0]), 0, lambda held: held.__setitem__(0, 4.0)),
    "UserDict": (UserDict(a=1.0), "a", lambda held: held.update(a=4.0)),
    "ChainMap": (ChainMap({}, {"a": 1.0}), "a", lambda held: held.update(a=4.0)),
    "mapping proxy": (MappingProxyType(_below), "a", lambda held: _below.update(a=4.0)),
}


def check(function: Any, holder: Any, change: Callable[[Any, Any], Any], monkeypatch: Any) -> None:
    compiled = bl.compile(function)
    x = bl.tensor([[1.0, 2.0], [3.0, -1.0]])
    with bl.no_grad():
        for _ in range(3):
            before = compiled(x).numpy()
        change(holder, monkeypatch)
        wanted = function(x).numpy()
        assert not np.allclose(wanted, before), "nothing changed"
        for _ in range(3):
            np.testing.assert_allclose(compiled(x).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("what", CHANGES_OF_A_MODULE)
def test_changes_of_a_module(what: str, monkeypatch: Any) -> None:
    bl.manual_seed(0)
    net = Scaled()
    check(lambda x: net(x), net, CHANGES_OF_A_MODULE[what], monkeypatch)


@pytest.mark.parametrize("what", CHANGES_OF_AN_OBJECT)
def test_changes_of_an_object(what: str, monkeypatch: Any) -> None:
    held = Plain()
    check(lambda x: held.computed(x), held, CHANGES_OF_AN_OBJECT[what], monkeypatch)


@pytest.mark.parametrize("kind", [Slotted, SlottedToo])
@pytest.mark.parametrize("what", CHANGES_OF_SLOTS)
def test_changes_of_slots(what: str, kind: Any, monkeypatch: Any) -> None:
    held = kind()
    held.shift = bl.tensor([0.0, 0.0])
    check(lambda x: held(x), held, CHANGES_OF_SLOTS[what], monkeypatch)


@pytest.mark.parametrize("what", CONTAINERS)
def test_changes_of_containers(what: str, monkeypatch: Any) -> None:
    held, key, change = CONTAINERS[what]
    check(lambda x: x * held[key], held, lambda holder, _: change(holder), monkeypatch)


ITERATORS: dict[str, Callable[[], Any]] = {
    "list": lambda: iter([1.0, 2.0, 3.0]),
    "generator": lambda: (float(i) for i in range(1, 9)),
    "count": lambda: itertools.count(1.0),
    "zip": lambda: zip([1.0, 2.0, 3.0], strict=True),
}


def following(it: Any) -> float:
    found = next(it)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("what", ITERATORS)
def test_what_an_iterator_gives_is_not_baked_in(what: str) -> None:
    it = ITERATORS[what]()
    with pytest.raises(TraceError, match=r"it, used in .*test_what_changes.py:\d+.* is an iterator"):
        bl.compile(lambda x: x * following(it))(bl.ones(2))
    assert following(it) == 1.0, "nothing was taken from it"
    other = ITERATORS[what]()
    lenient = bl.compile(lambda x: x * following(other), fallback=True)
    assert [float(lenient(bl.ones(()))) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert "iterator" in str(lenient.reason)


def test_a_frozen_parameter_gets_no_gradient() -> None:
    layer = bl.nn.Linear(2, 2)

    def step(x: Any) -> None:
        layer.zero_grad()
        layer(x).sum().backward()

    compiled = bl.compile(step)
    for _ in range(3):
        compiled(bl.ones(1, 2))
    layer.weight.requires_grad_(False).grad = None
    for _ in range(3):
        compiled(bl.ones(1, 2))
        assert layer.weight.grad is None and layer.bias.grad is not None


def test_a_counter_that_nobody_reads_costs_nothing() -> None:
    held = Plain()
    compiled = bl.compile(held.computed)
    for _ in range(5):
        compiled(bl.ones(2))
        held.calls += 1
    assert sum(map(len, compiled._forms.values())) == 1


class Counting:
    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, x: Any) -> Any:
        self.seen.append(1.0)
        return x * len(self.seen)


def test_what_changes_at_each_call_runs_eagerly_and_says_so() -> None:
    held = Counting()
    compiled = bl.compile(held.step)
    with pytest.warns(UserWarning, match="different at each call"):
        found = [float(compiled(bl.ones(1))) for _ in range(12)]
    assert found == [float(i) for i in range(1, 13)]
    assert "Pass what changes as an argument" in str(compiled.reason)


OWN, PYTHONS, LEGACY = np.random.default_rng(0), random.Random(0), np.random.RandomState(0)


@pytest.mark.parametrize(
    "draw",
    [
        *(random.random, np.random.rand),
        *(lambda: OWN.random(), lambda: PYTHONS.random(), lambda: LEGACY.rand()),
    ],
)
def test_numbers_drawn_by_others_are_not_baked_in(draw: Callable[[], float]) -> None:
    with pytest.raises(TraceError, match="random numbers"):
        bl.compile(lambda x: x * draw())(bl.ones(2))
