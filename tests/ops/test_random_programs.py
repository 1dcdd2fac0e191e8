"""Random programs give the same values and gradients as in PyTorch and JAX, or are refused.

The slow suite draws thousands of programs with a seed of its own each run; ``PROGRAM_SEED=<number>`` repeats one, and
``PROGRAM_TIMES=10`` draws ten times as many. A program on which the libraries disagree is minimised and added to
``kept_programs.jsonl``, which is replayed every time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import programs
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import backlit as bl

SHAPES = [(), (3,), (4,), (3, 4), (4, 3), (3, 1), (1,), (2, 3, 4), (0, 3)]
LEAVES = st.sampled_from([1, 2, 2, 3, 3, 4, 4])
STEPS = st.sampled_from([*range(1, 10), *[n for n in range(10, 21) for _ in range(4)]])
"""Mostly long programs, and short ones for the minimising to end at."""
KEPT = Path(__file__).with_name("kept_programs.jsonl")
PARTS = 8
"""Into so many tests the many programs are divided, to run side by side."""
TIMES = int(os.environ.get("PROGRAM_TIMES", 1))
MANY = 2000 * TIMES
"""Programs compared with PyTorch, and as many again that are compared with JAX as well."""
MANY_COMPILED = 40 * TIMES
"""Programs whose derivatives by JAX are also compiled by XLA."""

pytestmark = pytest.mark.filterwarnings("ignore")
quickly = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Programs are small: handing them to several threads would take longer than computing them."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def jax() -> Any:
    """JAX with float64 turned on for the test only."""
    found = pytest.importorskip("jax")
    before = found.config.jax_enable_x64
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", before)


def check(data: Any, library: Any = bl, instructions: Any = programs.INSTRUCTIONS) -> programs.Pair:
    """One program: up to four leaves, mostly ten to twenty steps, one backward pass."""
    import torch

    pair = programs.Pair((torch, library), instructions)
    shapes = [data.draw(st.sampled_from(SHAPES)) for _ in range(data.draw(LEAVES, "leaves"))]
    pair.start(data.draw(st.integers(0, 2**32 - 1), "seed of the values"), shapes)
    for _ in range(data.draw(STEPS, "steps")):
        pair.step(data.draw)
    pair.backward()
    return pair


def check_three(data: Any) -> None:
    """One functional program, in PyTorch, Backlit and JAX."""
    import jax_programs

    jax_programs.compare(check(data, instructions=jax_programs.functional()))


def check_compiled(data: Any) -> None:
    """The same, with JAX's arithmetic done by XLA."""
    import jax_programs

    jax_programs.compare(check(data, instructions=jax_programs.functional()), jax_programs.by_xla)


def many(part: int, examples: int, one: Callable[[Any], Any]) -> None:
    """Check programs drawn from a fresh seed (printed with a failure); keep a failing one, minimised."""
    number = int(os.environ.get("PROGRAM_SEED", random.SystemRandom().randrange(2**32)))
    print(f"PROGRAM_SEED={number} repeats these programs")

    @seed(number * PARTS + part)  # the parts of one day are not those of the day before
    @settings(quickly, max_examples=examples)
    @given(st.data())
    def run(data: Any) -> None:
        one(data)

    try:
        run()
    except programs.Disagreement as failure:  # hypothesis ends with the smallest program it found
        programs.keep(KEPT, failure.record)
        raise


@pytest.mark.peers
@settings(quickly, max_examples=400, derandomize=True)
@given(st.data())
def test_random_programs_equal_torch(data: Any) -> None:
    check(data)


@pytest.mark.peers
@pytest.mark.parametrize(("one", "examples"), [(check_three, 60), (check_compiled, 10)])
def test_random_programs_equal_jax(one: Callable[[Any], Any], examples: int, jax: Any) -> None:
    settings(quickly, max_examples=examples, derandomize=True)(given(st.data())(one))()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_many_random_programs_equal_torch(part: int) -> None:
    many(part, MANY // PARTS, check)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_many_random_programs_equal_jax(part: int, jax: Any) -> None:
    many(part, MANY // PARTS, check_three)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_equal_compiled_jax(part: int, jax: Any) -> None:
    many(part, MANY_COMPILED // PARTS, check_compiled)


@pytest.mark.peers
@pytest.mark.parametrize(
    "record", programs.kept(KEPT), ids=lambda record: "-".join(step[0] for step in record["steps"][-2:])
)
def test_kept_programs_equal_torch(record: programs.Record) -> None:
    import torch

    programs.replay(record, (torch, bl))


# -- the programs themselves: they must notice mistakes -----------------------------------------------------------


class Wrong:
    """The library with a tanh whose value is right and whose gradient is not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(bl, name)

    def tanh(self, x: Any) -> Any:
        return bl.tanh(x).detach() + (x - x.detach())


@pytest.mark.peers
def test_random_programs_notice_a_wrong_gradient_and_keep_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    import torch

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept.jsonl")
    module.KEPT.touch()
    monkeypatch.setenv("PROGRAM_SEED", "1")
    with pytest.raises(programs.Disagreement, match="gradient of leaf"):
        many(0, 400, lambda data: check(data, Wrong()))
    (record,) = programs.kept(KEPT)
    assert len(record["steps"]) <= 3, "not minimised"
    with pytest.raises(programs.Disagreement, match="gradient of leaf"):
        programs.replay(record, (torch, Wrong()))
    programs.replay(record, (torch, bl))


@pytest.mark.peers
def test_the_comparison_with_jax_notices_wrong_values_and_gradients(jax: Any) -> None:
    import jax_programs
    import torch

    steps = [["branch", [0], []], ["masked", [1], [0]], ["smooth", [2], ["tanh"]]]
    record = {"seed": 1, "leaves": [[3, 4]], "steps": steps}
    pair = programs.replay(record, (torch, bl))
    jax_programs.compare(pair)
    ours = pair.leaves[0][1]
    with bl.no_grad():
        ours.grad[1, 2] += 1e-8
    with pytest.raises(programs.Disagreement, match="gradient of leaf 0"):
        jax_programs.compare(pair)
    pair.pool[2] = (pair.pool[2][0], pair.pool[2][1] + 1e-8)
    with pytest.raises(programs.Disagreement, match="t2"):
        jax_programs.compare(pair)


@pytest.mark.peers
def test_most_kinds_of_steps_are_drawn_and_run() -> None:
    seen: set[str] = set()

    @settings(quickly, max_examples=100, derandomize=True, phases=[Phase.generate])
    @given(st.data())
    def run(data: Any) -> None:
        seen.update(name for name, _, _ in check(data).record["steps"])

    run()
    assert seen == {kind.name for kind in programs.INSTRUCTIONS}
