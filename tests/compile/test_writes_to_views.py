"""Writes into parts of a tensor inside compiled functions: results and gradients are those of eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from operation_cases import native_calls_only

import backlit as bl
from backlit.compile.passes.pipeline import optimised
from backlit.compile.trace.capture import Capture, capture


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
    assert native_calls_only(step, [x, weights])


KEYS: list[Any] = [
    *(1, -1, (1, 2), (..., -1), (None, 2), slice(1, None), slice(None, None, -1), slice(4, 0, -2), slice(0, 5, 2)),
    *((slice(1, 4), slice(2, 5)), (slice(None, None, 3), slice(1, None, 2)), (slice(2, 2),), (..., slice(3, 4))),
    *((2, slice(None), slice(0, 3, 2)), (slice(3, 1, -1), 0, slice(None, None, -1)), slice(None), ..., (0, 0, 0)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_parts_of_every_kind_and_dtype(key: Any, dtype: Any) -> None:
    """The values are broadcast; nothing else changes, whatever it is."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (5, 6, 3)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[rng.random(x.shape) < 0.3] = np.nan
        x[rng.random(x.shape) < 0.2] = -0.0
    value = rng.integers(0, 2, x[key].shape[-1:]).astype(dtype)

    def written(x: Any, value: Any) -> Any:
        z = x.clone()
        z[key] = value
        return z, z[1:]

    compiled, wanted = bl.compile(written), x.copy()
    wanted[key] = value
    for case in (compiled, written, compiled, compiled):
        for a, b in zip(case(bl.tensor(x), bl.tensor(value)), (wanted, wanted[1:]), strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
            if np.dtype(dtype).kind == "f":
                np.testing.assert_array_equal(np.signbit(a.numpy()), np.signbit(b))
    assert not wanted[key].size or native_calls_only(written, [bl.tensor(x), bl.tensor(value)])


def test_writes_into_a_transposed_argument_and_into_nothing() -> None:
    def written(x: Any, y: Any) -> Any:
        x[1:3] = y
        return x * 1.0

    compiled = bl.compile(written)
    for shape in ((4, 3), (4, 0)):
        held = [np.arange(12.0).reshape(3, 4)[: shape[1]].T.copy("F") for _ in range(2)]
        for array, run in zip(held, (written, compiled), strict=True):
            x = bl.from_numpy(array)
            for step in range(3):
                result = run(x, bl.full((2, shape[1]), float(step), dtype=bl.float64))
                np.testing.assert_array_equal(result.numpy(), array)
        np.testing.assert_array_equal(held[1], held[0])


def test_a_loop_that_fills_a_tensor_writes_each_row_once() -> None:
    """Neither copies of what was filled so far, nor zeros, nor gradients of them."""

    def step(x: Any) -> Any:
        out, state = bl.zeros(6, 2, 3), x
        for t in range(6):
            state = (state * 0.5).tanh()
            out[t] = state
        return out.detach(), *bl.autograd.grad((out * out).sum(), [x])

    x = bl.tensor(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32), requires_grad=True)
    _, seen = capture(step, (x,), {}, False, False)
    assert isinstance(seen, Capture)
    joins = [i for i in optimised(seen.program).body if i.opcode == "cat"]
    assert [tuple(v.shape for v in i.operands) for i in joins] == [((1, 2, 3),) * 6]


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


def one_row(x: Any, r: Any) -> None:
    x[3] = r


def a_row_from_itself(x: Any, r: Any) -> None:
    x[3] = x[3] * 2.0 + r


def a_block(x: Any, r: Any) -> None:
    x[2:5, 1:4] = r[1:4]


def one_column(x: Any, r: Any) -> None:
    x[:, 2] = r[0]


def two_rows_exchanged(x: Any, r: Any) -> None:
    first = x[0].clone()
    x[0] = x[1]
    x[1] = first + r


def rows_moved_on(x: Any, r: Any) -> None:
    x[1:] = x[:-1].clone()
    x[0] = r


def rows_turned_round(x: Any, r: Any) -> None:
    x[4:7] = x[4:7].flip(0)


def rows_read_afterwards(x: Any, r: Any) -> Any:
    x[2:] += r
    return x.sum()


def given_back(x: Any, r: Any) -> Any:
    x[5] = x.sum(0) + r
    return x


PARTS = (
    one_row, a_row_from_itself, a_block, one_column, two_rows_exchanged, rows_moved_on, rows_turned_round,
    rows_read_afterwards, given_back,
)  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(8, 6), (600, 300)])
@pytest.mark.parametrize("written", PARTS)
def test_parts_of_arguments_are_written_where_they_are(
    written: Any, shape: tuple[int, int], threads: int, number_of_threads: Any
) -> None:
    """No more is written than changed, and what is read of the old values is read before."""
    number_of_threads(threads)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in (shape, shape[1:])]
    mine, theirs = ([bl.tensor(a.copy()) for a in arrays] for _ in range(2))
    compiled = bl.compile(written)
    for _ in range(4):
        wanted, found = written(*mine), compiled(*theirs)
        np.testing.assert_allclose(theirs[0].numpy(), mine[0].numpy(), rtol=1e-12)
        if wanted is not None:
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-10)
    built = compiled._latest().executable.built
    size = sum(value.size for value in built.order.in_place)
    assert size == mine[0].numel() if written is rows_moved_on else size < mine[0].numel()


def test_what_a_caller_reads_through_another_view_is_what_was_written() -> None:
    """Also where the argument's memory has gaps and runs backwards, and next to it nothing changes."""

    def written(x: Any, r: Any) -> None:
        x[1, :2] = r * x[0, :2]

    compiled = bl.compile(written)
    held = [np.arange(48.0).reshape(6, 8) for _ in range(2)]
    for array, run in zip(held, (written, compiled), strict=True):
        x = bl.from_numpy(array[::2, ::-2])
        for step in range(3):
            run(x, bl.full((2,), step + 0.5, dtype=bl.float64))
    np.testing.assert_array_equal(held[1], held[0])
