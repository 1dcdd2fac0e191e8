"""Writes into parts of a tensor inside compiled functions: results and gradients are those of eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl


def rows(x: Any) -> Any:
    out = bl.zeros(3, 4, dtype=bl.float64)
    for i in range(3):
        out[i] = x[i] * float(i + 1)
    return out


def a_running_sum(x: Any) -> Any:
    out = x * 1.0
    for i in range(1, 3):
        out[i] += out[i - 1].clone() * x[i]
    return out


def a_row_in_place(x: Any) -> Any:
    z = x * 2.0
    z[0].mul_(x[1])
    return z


def a_constant_column(x: Any) -> Any:
    z = x * 2.0
    z[:, 1] = 5.0
    return z


def every_other_column(x: Any) -> Any:
    z = x * 0.5
    z[:, ::2] = x[:, 1::2] * z[:, ::2].clone()
    return z


def transposed(x: Any) -> Any:
    z = x * x
    z.T[1] = x.T[2] * 3.0
    return z


def reshaped(x: Any) -> Any:
    z = x * 2.0
    z.reshape(-1).mul_(x.reshape(-1))
    return z


def a_view_taken_before(x: Any) -> Any:
    z = x * 2.0
    row = z[1]
    z[1:] = x[1:] * x[1:]
    return row * z


def a_view_of_a_view(x: Any) -> Any:
    z = x * 2.0
    z[1:][0][2:] = x[0, :2]
    return z * x


def the_whole_through_a_view(x: Any) -> Any:
    z = x * 2.0
    z[:].copy_(x.sin())
    return z


def zeroed(x: Any) -> Any:
    z = x * 2.0
    z.zero_()
    z += x
    return z * x


def a_zeroed_row(x: Any) -> Any:
    z = x * 3.0
    z[2].zero_()
    return z * z


def by_a_mask(x: Any) -> Any:
    z = x * 2.0
    z[1:].masked_fill_(x[1:] > 0, 7.0)
    return z * x


def by_numbers(x: Any) -> Any:
    z = x * 2.0
    z[[2, 0]] = x[[0, 1]] * 3.0
    return z


def of_what_needs_no_gradient(x: Any) -> Any:
    z = x.detach() * 2.0
    z[0] = 1.0
    return z * x


def an_old_value_kept(x: Any) -> Any:
    z = x * 2.0
    old = z[0].clone()
    z[0] = z[1].clone() * old
    return z * old


CASES = [
    *(rows, a_running_sum, a_row_in_place, a_constant_column, every_other_column, transposed, reshaped),
    *(a_view_taken_before, a_view_of_a_view, the_whole_through_a_view, zeroed, a_zeroed_row, by_a_mask, by_numbers),
    *(of_what_needs_no_gradient, an_old_value_kept),
]


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_results_and_gradients(function: Callable[[Any], Any]) -> None:
    def step(x: Any, weights: Any) -> Any:
        out = function(x)
        return out.detach(), *bl.autograd.grad((out * weights).sum(), [x])

    compiled = bl.compile(step)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = bl.tensor(rng.normal(size=(3, 4)), requires_grad=True)
        weights = bl.tensor(rng.normal(size=(3, 4)))
        for a, b in zip(step(x, weights), compiled(x, weights), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-14)
    assert compiled._forms.all()[0].built


def test_a_recurrent_network_that_collects_its_states_is_trained() -> None:
    def trained(compile: bool) -> np.ndarray:
        bl.manual_seed(0)
        cell, head = bl.nn.RNNCell(3, 5), bl.nn.Linear(5, 1)
        optimizer = bl.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
        x = bl.tensor(np.random.default_rng(1).normal(size=(4, 2, 3)).astype(np.float32))

        def step(x: Any) -> Any:
            states = bl.zeros(4, 2, 5)
            state = bl.zeros(2, 5)
            for t in range(4):
                state = cell(x[t], state)
                states[t] = state
            loss = ((head(states) - x.sum(2, keepdim=True)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = bl.compile(step) if compile else step
        return np.array([run(x).item() for _ in range(20)])

    eager, compiled = trained(False), trained(True)
    assert eager[-1] < 0.5 * eager[0]
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)
