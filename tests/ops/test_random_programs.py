"""Random programs give the same values and gradients as in PyTorch, or are refused by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import programs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import backlit as bl

SHAPES = [(), (3,), (4,), (3, 4), (4, 3), (3, 1), (1,), (2, 3, 4), (0, 3)]

pytestmark = pytest.mark.filterwarnings("ignore")
quickly = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def check(data: Any, library: Any = bl) -> None:
    """One program: two to four leaves, ten to twenty steps, one backward pass."""
    torch = pytest.importorskip("torch")
    pair = programs.Pair((torch, library))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed of the values"))
    for _ in range(data.draw(st.integers(2, 4), "leaves")):
        pair.add_leaf(rng.normal(size=data.draw(st.sampled_from(SHAPES))))
    for _ in range(data.draw(st.integers(10, 20), "steps")):
        pair.step(data.draw)
    pair.backward(data.draw)


@pytest.mark.peers
@settings(quickly, max_examples=400, derandomize=True)
@given(st.data())
def test_random_programs_equal_torch(data: Any) -> None:
    check(data)


@pytest.mark.slow
@settings(quickly, max_examples=10_000)
@given(st.data())
def test_many_random_programs_equal_torch(data: Any) -> None:
    check(data)


class WrongTanh:
    """The library with a tanh whose value is right and whose gradient is not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(bl, name)

    def tanh(self, x: Any) -> Any:
        return bl.tanh(x).detach() + (x - x.detach())


@settings(quickly, max_examples=400, derandomize=True, phases=[Phase.generate])
@given(st.data())
def _run_wrong(data: Any) -> None:
    check(data, WrongTanh())


@pytest.mark.peers
def test_random_programs_notice_a_wrong_gradient() -> None:
    with pytest.raises(programs.Disagreement, match="gradient of leaf"):
        _run_wrong()
