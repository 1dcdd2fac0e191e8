"""What cannot be compiled says so, names the line and the ways out; nothing is silently specialised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError


def branch(x: Any) -> Any:
    return x * 2 if x.sum() > 0 else x


def number(x: Any) -> Any:
    return x * float(x.sum())


def array(x: Any) -> Any:
    return bl.tensor(x.numpy() + 1.0)


def answer(x: Any) -> Any:
    return x if bl.allclose(x, x + 1.0) else x * 2.0


def filled(x: Any) -> Any:
    return x + bl.empty_like(x).normal_()


def own_array(x: Any) -> Any:
    return x + np.ones(x.shape, np.float32)


def positions(x: Any) -> Any:
    return x[x > 0]


@pytest.mark.parametrize("function", [branch, number, array, answer, filled, own_array, positions])
def test_raises_and_names_the_line(function: Callable[..., Any]) -> None:
    with pytest.raises(TraceError, match=r"test_refusals\.py"):
        bl.compile(function)(bl.tensor([1.0, -2.0]))


@pytest.mark.parametrize("function", [branch, number, array, answer, filled, positions])
def test_falls_back_when_asked_to(function: Callable[..., Any]) -> None:
    compiled = bl.compile(function, fallback=True)
    for _ in range(3):
        bl.manual_seed(0)
        a = compiled(bl.tensor([1.0, -2.0]))
        bl.manual_seed(0)
        np.testing.assert_array_equal(a.numpy(), function(bl.tensor([1.0, -2.0])).numpy())
    assert isinstance(compiled.reason, TraceError)


def test_methods_of_tensors_are_themselves_again_afterwards() -> None:
    before = bl.Tensor.__init__, bl.Tensor.item
    with pytest.raises(TraceError):
        bl.compile(branch)(bl.tensor([1.0]))
    assert (bl.Tensor.__init__, bl.Tensor.item) == before
