"""Compiled functions called from several threads at once, from inside themselves, after a fork, after an exception."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest
from networks import Training, batches

import backlit as bl
from backlit.compile.trace.watch import _READS


def in_threads(count: int, work: Any) -> None:
    """Run ``work(i)`` in threads that start together; their exceptions are raised here."""
    start, errors = threading.Barrier(count), []

    def run(i: int) -> None:
        try:
            start.wait()
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a deadlock"
    if errors:
        raise errors[0]


def test_one_function_in_several_threads() -> None:
    compiled = bl.compile(lambda x: (bl.exp(x) @ x.T).sum() + x.mean())

    def work(i: int) -> None:
        rng = np.random.default_rng(i)
        for rows in (3, 5, 3, 40) * 5:
            a = rng.normal(size=(rows, 4))
            found = float(compiled(bl.tensor(a)))
            np.testing.assert_allclose(found, (np.exp(a) @ a.T).sum() + a.mean(), rtol=1e-9)

    in_threads(4, work)


def test_functions_that_are_traced_at_the_same_time() -> None:
    before = {name: bl.Tensor.__dict__[name] for name in (*_READS, "__init__")}

    def work(i: int) -> None:
        for k in range(5):
            compiled = bl.compile(lambda x, k=k: (x * (i + k)).sum())
            for _ in range(3):
                assert float(compiled(bl.ones(2))) == 2.0 * (i + k)

    in_threads(4, work)
    assert {name: bl.Tensor.__dict__[name] for name in before} == before


def test_trainings_in_several_threads_do_not_mix() -> None:
    wanted = Training()
    for x, y in batches(5, 10, 3, 2):
        wanted.step(x, y)
    trainings = [Training() for _ in range(3)]

    def work(i: int) -> None:
        step = bl.compile(trainings[i].step)
        for x, y in batches(5, 10, 3, 2):
            step(x, y)

    in_threads(3, work)
    for training in trainings:
        for a, b in zip(wanted.state(), training.state(), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


class Calls(bl.autograd.Function):
    """Calls whatever it is given."""

    action: Any = None

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return Calls.action(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def raising(x: Any, index: Any) -> Any:
    return bl.gather(bl.exp(x), 0, index).sum()


def test_an_exception_inside_leaves_everything_usable() -> None:
    compiled = bl.compile(raising)
    x, good, bad = bl.tensor([1.0, 2.0]), bl.tensor([0, 1]), bl.tensor([0, 7])
    wanted = float(raising(x, good))
    for _ in range(2):
        for _ in range(2):
            np.testing.assert_allclose(float(compiled(x, good)), wanted, rtol=1e-6)
        with pytest.raises((bl.errors.BacklitError, IndexError)):
            compiled(x, bad)
    np.testing.assert_allclose(float(compiled(x, good)), wanted, rtol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork() -> None:
    training = Training()
    step = bl.compile(training.step)
    given = list(batches(6, 10, 3, 2))
    for x, y in given[:3]:
        step(x, y)
    held = threading.Thread(target=step._lock.acquire)  # as if another thread were in the middle of a call
    held.start()
    held.join()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            losses = [float(step(x, y)) for x, y in given[3:]]
            code = 0 if np.isfinite(losses).all() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    step._lock.release()
    assert os.waitstatus_to_exitcode(status) == 0
    assert np.isfinite([float(step(x, y)) for x, y in given[3:]]).all()
