"""What a compiled function may be called with, and what it gives back."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError


@dataclass
class Batch:
    """An argument that is neither a tensor nor a container; dataclasses cannot be hashed."""

    x: Any
    factor: float = 1.0


class Held:
    def __init__(self) -> None:
        self.x, self.factor = bl.ones(2), 1.0


@pytest.mark.parametrize("make", [lambda: Batch(bl.ones(2)), Held])
def test_attributes_of_arguments_may_change(make: Any) -> None:
    held, compiled = make(), bl.compile(lambda held: (held.x * held.factor).sum())
    assert [float(compiled(held)) for _ in range(3)] == [2.0] * 3
    held.factor = 3.0
    assert [float(compiled(held)) for _ in range(3)] == [6.0] * 3
    held.x = bl.ones(5)
    assert [float(compiled(held)) for _ in range(3)] == [15.0] * 3
    other = make()
    other.x = bl.full((3,), 2.0)
    assert float(compiled(other)) == 6.0
    assert float(compiled(held)) == 15.0


def test_dataclasses_are_taken_apart() -> None:
    """Another batch at each call, as data sets make them, and a state that goes round."""

    @dataclass
    class State:
        h: Any
        steps: int = 0

        @property
        def doubled(self) -> Any:
            return self.h * 2

    @bl.compile
    def step(state: State, batch: Batch) -> Any:
        batch.x = batch.x + 1
        return State(state.doubled + batch.x * batch.factor, state.steps), batch

    state, h = State(bl.zeros(2)), 0.0
    for i in range(6):
        batch = Batch(bl.full((2,), float(i)))
        state, given = step(state, batch)
        h = 2 * h + i + 1
        assert state.h.tolist() == [h] * 2
        assert given is batch and batch.x.tolist() == [i + 1.0] * 2
    assert len(step._forms.all()) == 1


def test_arguments_are_not_kept_alive() -> None:
    compiled = bl.compile(lambda held, x: x * held.factor)
    held = [Held() for _ in range(3)]
    for one in held:
        compiled(one, bl.ones(2))
    gone = [weakref.ref(one) for one in held]
    del one, held[:2]
    gc.collect()
    assert [x() is None for x in gone] == [True, True, False]
    compiled(held[0], bl.zeros(3))
    assert len(compiled._forms.all()) == 2


def test_objects_that_are_other_ones_at_each_call_run_eagerly_in_the_end() -> None:
    compiled = bl.compile(lambda held, x: x * held.factor)
    with pytest.warns(UserWarning, match="different at each call"):
        for _ in range(80):
            assert compiled(Held(), bl.ones(2)).tolist() == [1.0, 1.0]
    assert compiled.reason is not None


def test_whether_two_arguments_are_one() -> None:
    compiled = bl.compile(lambda a, b: a * 3 if a is b else a + b)
    a, b = bl.ones(2), bl.ones(2)
    for _ in range(3):
        assert compiled(a, b).tolist() == [2.0, 2.0]
        assert compiled(a, a).tolist() == [3.0, 3.0]
    assert len(compiled._forms.all()) == 2


def test_numpy_arrays_are_refused_by_name() -> None:
    array = np.ones((3, 2), np.float32)
    with pytest.raises(TraceError, match=r"NumPy array of shape \(3, 2\).*as_tensor"):
        bl.compile(lambda x: x * 2)(array)
    lenient = bl.compile(lambda x: bl.as_tensor(x) * 2, fallback=True)
    for value in (1.0, 4.0):
        array[:] = value
        assert lenient(array).tolist() == [[2 * value] * 2] * 3
    assert "NumPy array" in str(lenient.reason)


def test_slices_and_sets_are_settings() -> None:
    compiled, x = bl.compile(lambda x, part, names: x[part] * len(names)), bl.arange(4.0)
    names = {"a"}
    for _ in range(3):
        assert compiled(x, slice(1, 3), names).tolist() == [1.0, 2.0]
        assert compiled(x, slice(0, 1), names).tolist() == [0.0]
    assert len(compiled._forms.all()) == 2
    names.add("b")
    assert compiled(x, slice(1, 3), names).tolist() == [2.0, 4.0]


def test_too_many_settings_run_eagerly_and_say_what_to_do() -> None:
    compiled, x = bl.compile(lambda x, batch: x * batch.factor), bl.ones(2)
    with pytest.warns(UserWarning, match="pass numbers and objects that change as tensors"):
        for i in range(100):
            assert compiled(x, Batch(None, float(i))).tolist() == [float(i)] * 2


def test_tensors_that_were_there_before_come_back_themselves() -> None:
    kept, weight = bl.ones(2), bl.ones(2, requires_grad=True)
    compiled = bl.compile(lambda x, y: {"x": x, "sum": x + y, "more": [kept, weight, y * weight]})
    for i in range(4):
        x, y = bl.full((2,), float(i)), bl.ones(2)
        found = compiled(x, y)
        assert found["x"] is x
        assert found["sum"].tolist() == [i + 1.0] * 2
        assert found["more"][0] is kept
        assert found["more"][1] is weight
        weight.grad = None
        (found["more"][1] * 2 + found["more"][2]).sum().backward()
        assert weight.grad.tolist() == [3.0, 3.0]


def test_a_function_that_gives_its_argument_back() -> None:
    compiled = bl.compile(lambda x: x.add_(1.0))
    weight = bl.ones(2, requires_grad=True)
    same = bl.compile(lambda: weight)
    for i in range(4):
        x = bl.full((2,), float(i))
        assert compiled(x) is x
        assert x.tolist() == [i + 1.0] * 2
        assert same() is weight


def test_gradients_flow_into_an_argument_that_comes_back() -> None:
    compiled = bl.compile(lambda h: (h, h * 2))
    for _ in range(4):
        w = bl.ones(2, requires_grad=True)
        h = w * 3
        first, second = compiled(h)
        assert first is h
        (first + second).sum().backward()
        assert w.grad.tolist() == [9.0, 9.0]


def test_the_default_dtype_may_change() -> None:
    compiled, x = bl.compile(lambda x: x + bl.zeros(2) * 2.0), bl.ones(2)
    assert [compiled(x).dtype for _ in range(3)] == [bl.float32] * 3
    bl.set_default_dtype(bl.float64)
    try:
        assert [compiled(x).dtype for _ in range(3)] == [bl.float64] * 3
    finally:
        bl.set_default_dtype(bl.float32)
    assert compiled(x).dtype == bl.float32
