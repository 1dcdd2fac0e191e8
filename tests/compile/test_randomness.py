"""Random numbers in compiled functions: eager mode's, from the same seed, and the generator moves on alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.random import Generator

functional = bl.nn.functional
X = bl.tensor(np.linspace(-2, 2, 7 * 33, dtype=np.float32).reshape(7, 33))


def uniform(x: Any) -> Any:
    return x + bl.rand(33) * bl.rand(7, 1)


def normal(x: Any) -> Any:
    return x * bl.randn_like(x) + bl.normal(0.5, 2.0, (33,))


def means(x: Any) -> Any:
    return bl.normal(x, x.abs())


def choices(x: Any) -> Any:
    return bl.bernoulli(bl.sigmoid(x)) * x + bl.randint(0, 9, (33,)).float()


def mixed(x: Any) -> Any:
    return functional.dropout(x, 0.4) + functional.dropout(x * bl.randn(33), 0.2)


def dropped(x: Any) -> Any:
    return functional.dropout(functional.dropout(x, 0.5).exp(), 0.1)


def channels(x: Any) -> Any:
    return functional.dropout1d(x.reshape(7, 11, 3), 0.3)


FUNCTIONS = [uniform, normal, means, choices, mixed, dropped, channels]


def runs(function: Callable[..., Any], before: int, calls: int = 5) -> tuple[list[Any], Any]:
    bl.manual_seed(3)
    bl.rand(before)
    return [function(X).numpy() for _ in range(calls)], bl.get_rng_state().tolist()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("before", [0, 3, 8])
def test_the_same_numbers_as_eagerly(function: Callable[..., Any], before: int) -> None:
    expected, end = runs(function, before)
    found, reached = runs(bl.compile(function), before)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)
    assert reached == end


@pytest.mark.parametrize("p", [0.001, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, 1001])
def test_masks_of_all_lengths(p: float, count: int) -> None:
    compiled = bl.compile(lambda x: functional.dropout(x, p))
    x = bl.ones(count)
    bl.manual_seed(0)
    expected = [functional.dropout(x, p).tolist() for _ in range(6)]
    bl.manual_seed(0)
    assert [compiled(x).tolist() for _ in range(6)] == expected


def test_no_call_of_numpy_is_made_for_dropout() -> None:
    compiled = bl.compile(dropped)
    for _ in range(2):
        compiled(X)
    assert "DrawChances" in compiled.explain()
    assert not [i for i in compiled._latest().executable.built.program.body if i.opcode == "extern"]


def test_generators_of_ones_own_and_restored_states() -> None:
    own, other = Generator().manual_seed(11), Generator().manual_seed(11)

    def both(x: Any, generator: Any) -> Any:
        return functional.dropout(x, 0.5, generator=generator)

    compiled = bl.compile(lambda x: both(x, own))
    for _ in range(3):
        assert compiled(X).tolist() == both(X, other).tolist()
    state = own.get_state()
    first = [compiled(X).tolist() for _ in range(2)]
    own.set_state(state)
    assert [compiled(X).tolist() for _ in range(2)] == first
    with bl.random.fork_rng():
        compiled(X)
    copy = own.clone()
    assert compiled(X).tolist() == both(X, copy).tolist()


def test_gradients_meet_the_mask_of_the_forward_pass() -> None:
    layer = bl.nn.Linear(33, 4)

    def loss(x: Any) -> Any:
        return (functional.dropout(layer(x), 0.5) * bl.rand(4)).square().sum()

    compiled = bl.compile(loss)
    for seed in range(3):
        found = []
        for function in (loss, compiled):
            bl.manual_seed(seed)
            layer.weight.grad = None
            function(X).backward()
            found.append(layer.weight.grad.numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_places_and_states_agree() -> None:
    rng = np.random.default_rng(0)
    for seed in range(50):
        drawn, skipped = Generator().manual_seed(seed), Generator().manual_seed(seed)
        for _ in range(8):
            count = int(rng.integers(0, 11))
            if rng.random() < 0.5:
                drawn.numpy.bit_generator.random_raw(count)
                skipped.skip(count)
            else:
                assert bl.rand(count, generator=drawn).tolist() == bl.rand(count, generator=skipped).tolist()
            place = skipped.place
            skipped.skip(3)
            skipped.place = place
        assert drawn.get_state().tolist() == skipped.get_state().tolist()


def test_the_numbers_do_not_depend_on_threads(number_of_threads: Any) -> None:
    x = bl.ones(300, 400)
    found = []
    for count in (1, 2):
        number_of_threads(count)
        compiled = bl.compile(lambda x: functional.dropout(x, 0.5) @ x.T)
        bl.manual_seed(1)
        found.append([compiled(x).numpy() for _ in range(3)])
    np.testing.assert_array_equal(found[0], found[1])
