"""Functions that take gradients of what they are given: which tensors are one, and what they were computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError

X = np.arange(1, 4, dtype=np.float32)


def leaf(i: int) -> Any:
    return bl.tensor(X + i).requires_grad_()


def two_leaves(i: int) -> Any:
    return leaf(i), leaf(i + 1)


def one_leaf_twice(i: int) -> Any:
    x = leaf(i)
    return x, x


def computed_from_others(i: int) -> Any:
    return leaf(i), leaf(-i) * (i + 2)


def both_computed(i: int) -> Any:
    return leaf(i) * 3, leaf(-i) * (i + 2)


def one_computed_twice(i: int) -> Any:
    x = leaf(i) * 2
    return x, x


def second_from_first(i: int) -> Any:
    x = leaf(i)
    return x, x * (i + 2)


def second_from_computed(i: int) -> Any:
    x = leaf(i) * 2
    return x, x * (i + 2)


def second_shows_first(i: int) -> Any:
    x = leaf(i)
    return x, x[...]


POSSIBLE = [two_leaves, one_leaf_twice, computed_from_others]
REFUSED = [both_computed, one_computed_twice, second_from_first, second_from_computed, second_shows_first]


def gradient(x: Any, y: Any) -> Any:
    return bl.autograd.grad((x * x * y).sum(), x)[0]


def collected(x: Any, y: Any) -> Any:
    (x * x * y).sum().backward()
    return x.grad


def agree(function: Callable[..., Any], compiled: Any, make: Callable[[int], Any], i: int) -> None:
    np.testing.assert_allclose(compiled(*make(i)).numpy(), function(*make(i)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("first", POSSIBLE)
@pytest.mark.parametrize("then", POSSIBLE)
def test_arguments_in_every_relation(first: Any, then: Any) -> None:
    compiled = bl.compile(gradient)
    for i in range(4):
        agree(gradient, compiled, first, i)
    for i in range(4):
        agree(gradient, compiled, then, i)
        agree(gradient, compiled, first, i)


@pytest.mark.parametrize("first", POSSIBLE)
@pytest.mark.parametrize("then", REFUSED)
def test_a_walk_that_would_leave_the_function_is_refused_whenever_it_comes(first: Any, then: Any) -> None:
    compiled = bl.compile(gradient)
    for i in range(3):
        agree(gradient, compiled, first, i)
    with pytest.raises(TraceError, match="before the compiled function was called"):
        compiled(*then(1))
    agree(gradient, compiled, first, 1)


def test_gradients_are_collected_by_one_leaf_or_by_two() -> None:
    compiled = bl.compile(collected)
    for make in (two_leaves, two_leaves, one_leaf_twice, one_leaf_twice, two_leaves):
        for i in range(2):
            agree(collected, compiled, make, i)


def test_a_leaf_outside_does_not_miss_its_gradient() -> None:
    """The step was compiled for a leaf; what was computed from one hands its gradient on."""
    compiled = bl.compile(collected)
    for i in range(3):
        agree(collected, compiled, two_leaves, i)
    with pytest.raises(TraceError, match="before the compiled function was called"):
        compiled(*computed_from_others(1))


@pytest.mark.parametrize("held_as", ["variable", "argument"])
def test_an_argument_that_is_a_variable_of_the_function(held_as: str) -> None:
    weight = bl.nn.Parameter(bl.tensor(X))

    def function(x: Any) -> Any:
        return bl.autograd.grad((x * x * weight).sum(), weight if held_as == "variable" else x)[0]

    compiled = bl.compile(function)
    for x in (leaf(1), leaf(2), leaf(3), weight, weight, leaf(1)):
        np.testing.assert_allclose(compiled(x).numpy(), function(x).numpy(), rtol=1e-6)


def test_an_unused_argument_is_no_longer_unused_where_it_is_another() -> None:
    def function(x: Any, y: Any) -> Any:
        return bl.autograd.grad((x * x).sum(), (x, y), materialize_grads=True)[1]

    compiled = bl.compile(function)
    for make in (two_leaves, two_leaves, one_leaf_twice, one_leaf_twice, two_leaves):
        agree(function, compiled, make, 1)


def test_a_variable_that_holds_another_tensor_at_each_call() -> None:
    class State:
        carried = leaf(5)

    def function(x: Any) -> Any:
        found = bl.autograd.grad((x * x * State.carried).sum(), x)[0]
        State.carried = x
        return found

    compiled = bl.compile(function, fallback=True)
    tensors = [leaf(i) for i in range(4)]
    order = [tensors[i] for i in (0, 1, 1, 2, 2, 2, 3, 0)]
    found = [compiled(x).numpy() for x in order]
    State.carried = leaf(5)
    for a, x in zip(found, order, strict=True):
        np.testing.assert_allclose(a, function(x).numpy(), rtol=1e-6)
