"""Whole trainings, eager and compiled from one seed: the same losses, to 1e-4 of them after a hundred steps.

Parameters are not compared: where a gradient is nothing but rounding (of a key's bias in attention, say), Adam makes
whole steps of it. What the networks answer afterwards is. In float64 losses agree to 1e-9.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guarded import guards
from sharing import shared_out
from trainings import NETWORKS, OPTIMIZERS, Learner

import backlit as bl
from backlit.compile.runtime import pool

pytestmark = pytest.mark.usefixtures("planned_anew")

STEPS = 100
HERE = Path(__file__).parent
PAIRS = list(zip(NETWORKS, OPTIMIZERS, strict=True))
"""Each network once, and each optimizer once."""


@pytest.fixture
def double() -> Iterator[None]:
    before = bl.get_default_dtype()
    bl.set_default_dtype(bl.float64)
    yield
    bl.set_default_dtype(before)


@pytest.fixture(params=[1, 2])
def count(request: Any) -> Iterator[int]:
    """A number of threads, among which even the smallest work is shared out."""
    with shared_out(request.param):
        yield request.param
        pool.close()


def hold(network: str, optimizer: str, rtol: float) -> None:
    """Both trainings, and both networks after them on data they have not seen."""
    eager, compiled = (Learner(network, optimizer) for _ in range(2))
    step = bl.compile(compiled.step)
    wanted, found = eager.train(eager.step, STEPS), compiled.train(step, STEPS)
    np.testing.assert_allclose(found, wanted, rtol=rtol)
    assert np.mean(wanted[-20:]) < 0.9 * np.mean(wanted[:20]), "nothing was learned"
    assert len(step._forms.all()) == 1, "compiled more than once"
    ((x, _),) = itertools.islice(eager.batches(1), 1)
    for learner in (eager, compiled):
        learner.net.eval()
    a, b = (learner.net(x).detach().numpy() for learner in (eager, compiled))
    np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("network", "optimizer"), PAIRS)
def test_a_hundred_steps_end_alike(network: str, optimizer: str) -> None:
    hold(network, optimizer, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_hundred_steps_in_double_precision_end_alike(network: str, optimizer: str, double: None) -> None:
    hold(network, optimizer, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "optimizer"), [p for p in itertools.product(NETWORKS, OPTIMIZERS) if p not in PAIRS]
)
def test_a_hundred_steps_of_other_pairs_end_alike(network: str, optimizer: str) -> None:
    hold(network, optimizer, 1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_whole_steps_in_watched_memory(network: str, count: int) -> None:
    """Nothing is written next to a value, and nothing is read before it is written."""
    eager, compiled = (Learner(network, "adam") for _ in range(2))
    step = bl.compile(compiled.step)
    with guards():
        found = compiled.train(step, 4)
    np.testing.assert_allclose(found, eager.train(eager.step, 4), rtol=1e-4)
    assert max(region.parts for region in step._latest().executable.built.regions) == count


# -- the same bits --------------------------------------------------------------------------------------------------

PROGRAM = """
import hashlib, sys
import backlit as bl
from backlit.compile.assemble import regions
from trainings import Learner
regions.WORTH_SHARING = regions.WORTH_THREADS = 0.0
bl.set_num_threads(int(sys.argv[1]))
for network in sys.argv[2:]:
    learner = Learner(network, "adamw")
    learner.train(bl.compile(learner.step), 12)
    print(network, hashlib.sha256(b"".join(a.tobytes() for a in learner.state())).hexdigest())
"""


def bits(cache: Path | None, threads: int, *networks: str) -> str:
    """What a training in a fresh process leaves, bit by bit."""
    environment = {**os.environ, "BACKLIT_CACHE": str(cache or 0)}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    command = [sys.executable, "-c", PROGRAM, str(threads), *networks]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("number", [1, 2])
def test_the_same_number_of_threads_gives_the_same_bits(number: int, tmp_path: Path) -> None:
    """In one process and the next, with code made anew and code found on disk."""
    names = ["perceptron", "transformer"]
    cold, warm = (bits(tmp_path / "code", number, *names) for _ in range(2))
    assert cold.splitlines() == warm.splitlines() and len(cold.splitlines()) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_the_same_bits_for_every_network(number: int, tmp_path: Path) -> None:
    cold, warm = (bits(tmp_path / "code", number, *NETWORKS) for _ in range(2))
    assert cold == warm == bits(None, number, *NETWORKS)
