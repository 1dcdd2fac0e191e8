"""Arguments and variables that are one another, or share memory, now and not later: eager mode's results each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError

first = bl.tensor([1.0, 1.0])
second = first


def combined(x: Any, y: Any) -> Any:
    return x - 2.0 * y


def written(x: Any, y: Any) -> Any:
    x.add_(y)
    return y * 2.0


def alike(function: Any, compiled: Any, make: Any) -> None:
    """The same result and the same effects on tensors made twice."""
    eager, ours = make(), make()
    wanted, found = function(*eager), compiled(*ours)
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    for a, b in zip(eager, ours, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy())


def apart() -> Any:
    return bl.tensor([1.0, 2.0]), bl.tensor([5.0, 7.0])


def same() -> Any:
    x = bl.tensor([1.0, 2.0])
    return x, x


def detached() -> Any:
    x = bl.tensor([1.0, 2.0])
    return x, x.detach()


def overlapping() -> Any:
    base = bl.tensor([1.0, 2.0, 3.0])
    return base[:2], base[1:]


@pytest.mark.parametrize("start", [apart, same, detached, overlapping])
def test_what_is_only_read(start: Any) -> None:
    compiled = bl.compile(combined)
    for make in (start, start, apart, same, detached, overlapping, apart, same):
        alike(combined, compiled, make)


@pytest.mark.parametrize("start", [apart, same, detached])
def test_what_is_written_to(start: Any) -> None:
    compiled = bl.compile(written, fallback=True)
    for make in (start, start, apart, same, detached, overlapping, apart, same):
        alike(written, compiled, make)


def test_overlapping_inputs_of_which_one_is_written_to_are_refused() -> None:
    with pytest.raises(TraceError, match="shares memory"):
        bl.compile(lambda x, y: ((y * 2.0).sum(), x.add_(1.0)))(*overlapping())


def test_read_only_memory_is_not_written_to() -> None:
    compiled = bl.compile(lambda x: x.mul_(2.0).sum())
    for _ in range(3):
        compiled(bl.ones(3))
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    with pytest.raises(bl.errors.BacklitError, match="read-only"):
        compiled(bl.Tensor(array))
    assert array.tolist() == [1.0, 1.0, 1.0]


def test_two_names_of_one_tensor(monkeypatch: Any) -> None:
    compiled, x = bl.compile(lambda x: x * first + second), bl.tensor([1.0, 2.0])
    for _ in range(3):
        assert compiled(x).tolist() == [2.0, 3.0]
    monkeypatch.setitem(globals(), "second", bl.tensor([100.0, 100.0]))
    assert compiled(x).tolist() == [101.0, 102.0]


def test_an_argument_that_is_also_a_variable() -> None:
    w = bl.tensor([1.0, 1.0])
    compiled = bl.compile(lambda x: x * w)
    for _ in range(3):
        compiled(w)
    assert compiled(bl.tensor([3.0, 2.0])).tolist() == [3.0, 2.0]


def test_gradients_of_arguments_belong_to_the_arguments() -> None:
    compiled = bl.compile(lambda x: (x * x).sum().backward())
    for k in range(4):
        x = bl.tensor([k + 1.0, 2.0], requires_grad=True)
        compiled(x)
        assert x.grad.tolist() == [2.0 * k + 2.0, 4.0]
        x.grad = None  # so that the program of the first call holds for the next tensor
    for k in range(3):
        compiled(x)
        assert x.grad.tolist() == [8.0 * (k + 1), 4.0 * (k + 1)]


def test_the_gradient_of_an_argument_is_read_from_the_argument() -> None:
    compiled = bl.compile(lambda x: x.grad * 2.0)
    for k in (1.0, 2.0, 3.0):
        x = bl.tensor([1.0], requires_grad=True)
        (x * k).sum().backward()
        assert compiled(x).tolist() == [2.0 * k]
