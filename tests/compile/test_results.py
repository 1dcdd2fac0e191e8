"""What a compiled function gives back: the objects that eager mode gives, new where that makes new ones."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError

Pair = namedtuple("Pair", "first second")


class Kind(enum.Enum):
    good = 1


@dataclass
class Output:
    loss: Any
    logits: Any = None
    notes: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    loss: Any


class Named(dict):
    """A dictionary with attributes."""


def named(x: Any) -> Named:
    made = Named(loss=x.sum())
    made.kind = Kind.good
    return made


def in_a_cycle(x: Any) -> list[Any]:
    made = [x * 2]
    made.append(made)
    return made


RESULTS: dict[str, Any] = {
    "dataclass": lambda x: Output(x.sum(), x * 2, [x * 3, "text"]),
    "frozen": lambda x: Frozen(x.sum()),
    "named tuple": lambda x: Pair(x * 2, {"a": x}),
    "deque": lambda x: deque([x * 2, 1], maxlen=3),
    "ordered": lambda x: OrderedDict(b=x * 2, a=x * 3),
    "default": lambda x: defaultdict(list, a=[x * 2]),
    "dictionary with attributes": named,
    "sets": lambda x: (frozenset({"a"}), {1, 2}, x * 2),
    "array": lambda x: (np.arange(x.shape[0]), x * 2),
    "partial": lambda x: partial(Pair, x * 2),
    "method": lambda x: Output(x * 2).notes.append,
    "cycle": in_a_cycle,
    "nothing": lambda x: None,
}


def plain(x: Any, seen: tuple[int, ...] = ()) -> Any:
    """A result as numbers, kinds and containers."""
    if id(x) in seen:
        return "again"
    if isinstance(x, (bl.Tensor, np.ndarray)):
        return type(x).__name__, x.tolist()
    if isinstance(x, partial):
        return "partial", plain(x.args)
    if hasattr(x, "__self__"):
        return "method", plain(x.__self__)
    inner = (*seen, id(x))
    if isinstance(x, dict):
        held = {key: plain(value, inner) for key, value in x.items()}
        return type(x).__name__, held, plain(getattr(x, "__dict__", {}), inner) if type(x) is not dict else ""
    if isinstance(x, (list, tuple, deque)):
        return type(x).__name__, [plain(part, inner) for part in x]
    if hasattr(x, "__dataclass_fields__"):
        return type(x).__name__, [plain(getattr(x, name), inner) for name in x.__dataclass_fields__]
    return x


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_eager_modes(name: str) -> None:
    function = RESULTS[name]
    compiled = bl.compile(function)
    given = []
    for i in range(5):
        x = bl.full((2,), i + 1.0)
        given.append(compiled(x))
        assert plain(given[-1]) == plain(function(x)), f"call {i}"
    if given[-1] is not None:
        assert given[-1] is not given[-2]


def test_one_object_stays_one() -> None:
    held: dict[str, Any] = {}
    kept = [1.0]

    @bl.compile
    def step(x: Any) -> Any:
        y = x * 2
        pair = [y, y]
        held["pair"] = pair
        return {"y": y, "pair": pair, "again": pair, "kept": kept, "loss": Output(y)}

    for i in range(4):
        found = step(bl.full((2,), float(i)))
        assert found["pair"] is found["again"] is held["pair"]
        assert found["y"] is found["pair"][0] is found["pair"][1] is found["loss"].loss
        assert found["kept"] is kept
        assert found["y"].tolist() == [2.0 * i] * 2


def test_gradients_through_a_tensor_that_is_given_back_twice() -> None:
    compiled = bl.compile(lambda x: (lambda y: (y, y, y[0]))(x * 3))
    for _ in range(4):
        x = bl.ones(2, requires_grad=True)
        first, second, part = compiled(x)
        assert first is second
        (first.sum() + second.sum() + part).backward()
        assert x.grad.tolist() == [9.0, 6.0]


def test_views_stay_views() -> None:
    w = bl.ones(2, 2)
    held: dict[str, Any] = {}

    @bl.compile
    def step(x: Any) -> Any:
        h = x * 2
        held["last"] = h[-1]
        return h, h.detach(), x[0], x.T[1:], w.reshape(-1), w.detach()

    for _ in range(4):
        x = bl.ones(2, 2)
        h, detached, row, turned, flat, same = step(x)
        h.zero_()
        x.fill_(5.0)
        w.add_(1.0)
        assert detached.tolist() == [[0.0, 0.0]] * 2 and held["last"].tolist() == [0.0, 0.0]
        assert row.tolist() == [5.0, 5.0] and turned.tolist() == [[5.0, 5.0]]
        assert flat.tolist() == w.flatten().tolist() and same.tolist() == w.tolist()


def test_gradients_flow_through_views_that_are_given_back() -> None:
    w = bl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    compiled = bl.compile(lambda x: (w[0], (w * x)[1]))
    for _ in range(4):
        w.grad = None
        row, other = compiled(bl.full((2, 2), 3.0))
        assert row.requires_grad and row._view is not None
        (row.sum() + other.sum()).backward()
        assert w.grad.tolist() == [[1.0, 1.0], [3.0, 3.0]]


def test_a_gradient_that_is_given_back_is_that_of_the_leaf() -> None:
    w = bl.ones(2, requires_grad=True)
    optimizer = bl.optim.SGD([w], lr=0.1)
    held: dict[str, Any] = {}

    @bl.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()
        held["gradient"] = w.grad
        return w.grad

    for i in range(4):
        assert step(bl.full((2,), float(i))) is w.grad is held["gradient"]
        assert w.grad.tolist() == [float(i)] * 2


def test_arguments_that_are_containers() -> None:
    """They come back themselves, with what the function puts into them."""

    def step(batch: Any, *, more: Any) -> Any:
        batch["loss"] = (batch["x"] * 2).sum()
        more[0] = batch["loss"] + 1
        more.append(batch["x"])
        return batch, more

    compiled = bl.compile(step)
    for i in range(4):
        batch, more = {"x": bl.full((2,), float(i))}, [None]
        found, other = compiled(batch, more=more)
        assert found is batch and other is more
        assert batch["loss"].item() == 4.0 * i and more[0].item() == 4.0 * i + 1 and more[1] is batch["x"]


class Asking(OrderedDict[str, Any]):
    """One that cannot be copied, as it asks for an argument that copying does not know."""

    def __init__(self, first: Any) -> None:
        super().__init__(first=first)


def test_what_cannot_be_made_again_is_refused() -> None:
    def generator(x: Any) -> Any:
        return (part for part in (x * 2, x))

    def closure(x: Any) -> Any:
        y = x * 2
        return lambda: y

    def module(x: Any) -> Any:
        return x * 2, bl.nn.ReLU()

    def asking(x: Any) -> Any:
        return Asking(x * 2)

    kinds = {generator: "generator", closure: "function", module: "ReLU", asking: "Asking"}
    for function, kind in kinds.items():
        with pytest.raises(TraceError, match=rf"gives back an object that it made \({kind}\)"):
            bl.compile(function)(bl.ones(2))
