"""The plan of the memory between inputs and outputs: nothing is overwritten that is still to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_passes import block, captured, convolution, perceptron, programs
from trainings import NETWORKS, Learner

from backlit.compile.assemble import build as building
from backlit.compile.assemble import regions, schedule
from backlit.compile.assemble.build import Built, build
from backlit.compile.assemble.schedule import packed
from backlit.compile.ir.program import Program, Value
from backlit.compile.loops.groups import Group
from backlit.memory import LINE

BYTE = np.dtype(np.uint8)
Lives = dict[Value, tuple[int, int]]


@st.composite
def lives(draw: Any) -> Lives:
    """Values of some sizes, needed from one time to another."""
    found = {}
    for _ in range(draw(st.integers(0, 25))):
        start = draw(st.integers(0, 12))
        value = Value((draw(st.sampled_from([0, 1, 7, 64, 65, 100, 128, 300, 1000])),), BYTE)
        found[value] = start, start + draw(st.integers(0, 6))
    return found


@settings(max_examples=300, deadline=None)
@given(lives(), st.sampled_from([0, 0, 64]))
def test_values_that_are_needed_at_once_lie_apart(lives: Lives, apart: int) -> None:
    arena = packed(lives, apart)
    assert arena.offsets.keys() == lives.keys()
    ends = [arena.offsets[v] + v.size + apart for v in lives]
    assert arena.size == max(ends, default=0)
    for v, (start, end) in lives.items():
        assert arena.offsets[v] % LINE == 0 and arena.offsets[v] >= apart
        for w, (born, dead) in lives.items():
            if v is not w and v.size and w.size and born <= end and start <= dead:
                a, b = sorted((arena.offsets[x], arena.offsets[x] + x.size) for x in (v, w))
                assert a[1] + apart <= b[0], (v, w)


@settings(max_examples=100, deadline=None)
@given(lives())
def test_no_more_memory_than_without_sharing(lives: Lives) -> None:
    """And no less than what is needed at the fullest time."""
    size = packed(lives).size
    at_once = [sum(v.size for v, (start, end) in lives.items() if start <= t <= end) for t in range(20)]
    assert max(at_once) <= size <= sum(-(-v.size // LINE) * LINE for v in lives)


# -- plans of programs ----------------------------------------------------------------------------------------------


class Memory:
    """Which value each byte of the arena holds, as regions run one after the other."""

    def __init__(self, built: Built, scratch: dict[Any, Value]) -> None:
        self.built, self.scratch = built, scratch
        self.holder = np.zeros(built.arena.size, np.int64)

    def place(self, value: Value) -> slice | None:
        offset = self.built.arena.offsets.get(value)
        return None if offset is None else slice(offset, offset + schedule._bytes(value))

    def read(self, group: Group) -> Iterator[Value]:
        own = {v for m in group.members for v in m.results}
        bases = {self.built.layouts[o].base for m in group.members for o in m.operands}
        return (base for base in bases - own if self.place(base) is not None)

    def written(self, group: Group) -> Iterator[Value]:
        for member in group.members:
            for x in (member, *member.results):
                if x in self.scratch:
                    yield self.scratch[x]
            yield from (v for v in member.results if self.place(v) is not None)

    def run(self) -> None:
        """Hold every read against what the bytes hold then, and against what others write at the same time."""
        for region in self.built.regions:
            reads = {group: list(self.read(group)) for group in region.groups}
            writes = {group: list(self.written(group)) for group in region.groups}
            for group in region.groups:
                for value in reads[group]:
                    assert (self.holder[self.place(value)] == value.number).all(), f"{value} is gone before {group}"
                for value in writes[group]:
                    self.holder[self.place(value)] = value.number
            for group, values in writes.items():
                for other in region.groups:
                    if other is not group:
                        self.apart(values, [*reads[other], *writes[other]])
        for value in self.built.program.results():
            base = self.built.layouts[value].base
            if self.place(base) is not None:
                assert (self.holder[self.place(base)] == base.number).all(), f"{value} is gone at the end"

    def apart(self, some: list[Value], others: list[Value]) -> None:
        for a in some:
            for b in others:
                s, t = self.place(a), self.place(b)
                assert s is not None and t is not None
                assert a is b or s.stop <= t.start or t.stop <= s.start, f"{a} and {b} are written at once"


def planned(program: Program, threads: int) -> Memory:
    """The plan of a program, without machine code."""
    seen: list[dict[Any, Value]] = []
    scratch_of = building.scratch_of

    def noted(*args: Any) -> Any:
        seen.append(dict(scratch_of(*args)))
        return seen[-1]

    with (
        mock.patch.object(building, "scratch_of", noted),
        mock.patch.object(building, "cached", lambda *args: b""),
        mock.patch.object(building, "NativeCode", lambda *args: {}),
        mock.patch.object(regions, "WORTH_SHARING", 0.0),
        mock.patch.object(regions, "WORTH_THREADS", 0.0),
    ):
        built = build(program, {}, threads=threads)
    return Memory(built, seen[0])


def step(network: str) -> Program:
    learner = Learner(network, "adam")
    ((x, y),) = learner.batches(1)
    return captured(learner.step, x, y)


KINDS: dict[str, Callable[[], Program]] = {
    **{make.__name__: make for make in (perceptron, convolution, block)},
    **{f"step of {name}": lambda name=name: step(name) for name in NETWORKS},
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten_that_is_still_read(kind: str, threads: int) -> None:
    planned(KINDS[kind](), threads).run()


@settings(max_examples=60, deadline=None)
@given(programs(), st.sampled_from([1, 2]))
def test_nothing_is_overwritten_in_random_programs(program: Program, threads: int) -> None:
    planned(program, threads).run()


def test_a_plan_that_forgets_a_reader_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = schedule._lives

    def shorter(*args: Any) -> Lives:
        return {value: (start, max(start, end - 1)) for value, (start, end) in good(*args).items()}

    monkeypatch.setattr(schedule, "_lives", shorter)
    with pytest.raises(AssertionError, match=r"is gone|at once"):
        for kind in KINDS.values():
            planned(kind(), 1).run()
