"""Random functions with their gradients (views, writes in place, loops, reuse): compiled, they are what they are
eagerly, and every pass keeps what their programs mean.

The slow suite draws hundreds with a seed of its own each run; ``PROGRAM_SEED=<number>`` repeats one, and
``PROGRAM_TIMES=10`` draws ten times as many. A function on which the two differ is minimised and added to
``kept_functions.jsonl``, which is replayed every time.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guarded import guards
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sharing import shared_out

import backlit as bl
from backlit.compile.ir.interpret import interpret
from backlit.compile.ir.program import Program, verify
from backlit.compile.passes.pipeline import PASSES, optimised
from backlit.compile.trace.capture import Capture, capture

sys.path.append(str(Path(__file__).parents[1] / "ops"))
import programs

KEPT = Path(__file__).with_name("kept_functions.jsonl")
SHAPES = [(), (3,), (4,), (3, 4), (4, 3), (3, 1), (1,), (2, 3, 4), (0, 3), (9,), (17,), (8, 9)]
LEAVES = st.sampled_from([1, 2, 2, 3, 3, 4])
STEPS = st.sampled_from([*range(1, 13), *range(8, 13)])
ASKS_FOR_VALUES = {"branch", "masked"}
"""Kinds of steps that a compiled function cannot take."""

INSTRUCTIONS = [kind for kind in programs.INSTRUCTIONS if kind.name not in ASKS_FOR_VALUES]
MANY, PARTS = 240 * int(os.environ.get("PROGRAM_TIMES", 1)), 8
quickly = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("planned_anew")]
Array = np.ndarray


class Drawn:
    """A random function: what was drawn, and what became of each step. All that a compiler can see of it are its
    arguments, not the machinery behind the steps."""

    __slots__ = ("kinds", "record")

    def __init__(self, record: programs.Record) -> None:
        self.record = record
        self.kinds = {kind.name: kind for kind in programs.INSTRUCTIONS}

    def leaves(self) -> list[Any]:
        return [bl.tensor(values, requires_grad=True) for values in programs.leaf_values(self.record)]

    def __call__(self, *leaves: Any) -> tuple[list[Any], tuple[Any, ...]]:
        """Every result, and the gradients of a weighted sum of all by the leaves."""
        pool = list(leaves)
        for (name, choices, values), fate in zip(self.record["steps"], self.record["fates"], strict=True):
            tape = programs.Tape.of(values)
            made = self.kinds[name].function(bl, tape.rewound(), *[pool[i] for i in choices])
            if fate != "dropped":
                pool.append(programs.squashed(bl, made) if fate == "squashed" else made)
        loss = sum((t * programs.weight(i)).sum() for i, t in enumerate(pool))
        gradients = bl.autograd.grad(loss, leaves, materialize_grads=True)
        return [t.detach() for t in pool], gradients

    def arrays(self, call: Callable[..., Any], leaves: list[Any]) -> list[Array]:
        values, gradients = call(*leaves)
        return [t.detach().numpy().copy() for t in (*values, *gradients)]


def drawn(data: Any) -> Drawn | None:
    """A random function that runs eagerly, or None: some writes in place are refused."""
    pair = programs.Pair((bl, bl), INSTRUCTIONS)
    shapes = [data.draw(st.sampled_from(SHAPES)) for _ in range(data.draw(LEAVES, "leaves"))]
    pair.start(data.draw(st.integers(0, 2**32 - 1), "seed of the values"), shapes)
    for _ in range(data.draw(STEPS, "steps")):
        pair.step(data.draw)
    made = Drawn({**pair.record, "fates": pair.fates})
    try:
        made(*made.leaves())
    except (RuntimeError, IndexError, ValueError):
        return None
    return made


class Difference(AssertionError):
    """Eager and compiled results differ; ``record`` is what replays them."""

    def __init__(self, message: str, record: programs.Record) -> None:
        super().__init__(f"{message}\n{json.dumps(record)}")
        self.record = record


def check(function: Drawn, natively: bool) -> bool:
    """Hold passes, and native code in watched memory, against eager mode; whether there was something to hold."""
    try:
        return held(function, natively)
    except Difference:
        raise
    except Exception as error:
        raise Difference(f"{type(error).__name__}: {error}", function.record) from error


def held(function: Drawn, natively: bool) -> bool:
    """As :func:`check`, with errors as they come."""
    leaves = function.leaves()
    wanted = function.arrays(function, leaves)
    _, seen = capture(function, tuple(leaves), {}, False, False)
    if not isinstance(seen, Capture):
        return False
    arrays = [getattr(x, "_data", x) for x in (source.now(leaves) for source in seen.sources)]
    for program in passed(seen.program):
        outputs, _ = interpret(verify(program), arrays)
        values, gradients = seen.outcome([bl.Tensor(x) for x in outputs[: seen.results]], leaves)
        same("a pass", function, leaves, wanted, [t.detach().numpy() for t in (*values, *gradients)])
    if natively:
        hold_natively(function, leaves, wanted)
    return True


def hold_natively(function: Drawn, leaves: list[Any], wanted: list[Array]) -> None:
    """Native code gives what is wanted, and at other values what eager mode gives there.

    Every other function runs in watched memory, where values never share a place, the others in an arena as users have
    it; and of both kinds every other one on two threads, among which even the smallest work is shared out.
    """
    compiled = bl.compile(function)
    watched, shared = function.record["seed"] % 2, function.record["seed"] // 2 % 2
    with guards() if watched else nullcontext(), shared_out(2) if shared else nullcontext():
        for _ in range(2):
            found = function.arrays(compiled, leaves)
        same("native code", function, leaves, wanted, found)
        hold_elsewhere(function, compiled, leaves)


def hold_elsewhere(function: Drawn, compiled: Any, leaves: list[Any]) -> None:
    """The same program at other values."""
    for leaf, values in zip(leaves, programs.leaf_values(function.record), strict=True):
        leaf.detach().copy_(bl.tensor(values[::-1].copy() if values.ndim else values + 0.25))
    wanted = function.arrays(function, leaves)
    same("native code at other values", function, leaves, wanted, function.arrays(compiled, leaves))


def passed(program: Program) -> list[Program]:
    """A program as it is, after each pass alone, after all, and after all twice."""
    return [program, *[run(program) for run in PASSES], optimised(program), optimised(optimised(program))]


def same(what: str, function: Drawn, leaves: list[Any], wanted: list[Array], found: list[Array]) -> None:
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        size = max(1.0, float(np.abs(a).max(initial=0.0)))
        if a.shape != b.shape or not np.allclose(b, a, rtol=1e-9, atol=1e-9 * size, equal_nan=True):
            if not is_settled(function, leaves, wanted):
                return
            raise Difference(f"{what}: result {i} is {b} instead of {a}", function.record)


def is_settled(function: Drawn, leaves: list[Any], wanted: list[Array]) -> bool:
    """Whether eager results hardly change with the inputs: where rounding decides a comparison nobody is right."""
    values = [leaf.detach().numpy() for leaf in leaves]
    moved = function.arrays(function, [bl.tensor(x * (1.0 + 1e-13) + 1e-14, requires_grad=True) for x in values])
    return all(np.allclose(b, a, rtol=1e-7, atol=1e-7, equal_nan=True) for a, b in zip(wanted, moved, strict=True))


def many(number: int, examples: int, natively: bool) -> int:
    """Check functions drawn from a seed; how many could be compiled. A failing one is minimised and kept."""
    compiled = []

    @seed(number)
    @settings(quickly, max_examples=examples)
    @given(st.data())
    def run(data: Any) -> None:
        function = drawn(data)
        if function is not None:
            compiled.append(check(function, natively))

    try:
        run()
    except Difference as failure:  # hypothesis ends with the smallest function it found
        programs.keep(KEPT, failure.record)
        raise
    return sum(compiled)


def test_passes_keep_what_random_functions_mean() -> None:
    assert many(1, 50, False) > 25


def test_random_functions_compiled_equal_eager() -> None:
    assert many(2, 40, True) > 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_many_random_functions_compiled_equal_eager(part: int) -> None:
    number = int(os.environ.get("PROGRAM_SEED", random.SystemRandom().randrange(2**32)))
    print(f"PROGRAM_SEED={number} repeats these functions")
    assert many(number * PARTS + part, MANY // PARTS, True)


@pytest.mark.parametrize(
    "record", programs.kept(KEPT), ids=lambda record: "-".join(step[0] for step in record["steps"][-2:])
)
def test_kept_functions_compiled_equal_eager(record: programs.Record) -> None:
    check(Drawn(record), True)


def test_a_wrong_pass_is_noticed_and_the_function_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept.jsonl")
    module.KEPT.touch()

    def swaps(program: Program) -> Program:
        body = [i.replaced(i.operands[::-1]) if i.opcode == "sub" else i for i in program.body]
        return program.replaced(body)

    monkeypatch.setattr(module, "PASSES", (swaps,))
    monkeypatch.setattr(module, "quickly", settings(quickly, phases=[Phase.generate]))
    with pytest.raises(Difference, match="a pass"):
        many(1, 200, False)
    (record,) = programs.kept(KEPT)
    with pytest.raises(Difference, match="a pass"):
        check(Drawn(record), False)
