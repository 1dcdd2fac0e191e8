"""A watched run keeps no more alive than one that nobody watches, and still knows which memory holds what."""

import tracemalloc

import numpy as np
import pytest

import backlit as bl
from backlit.compile.ir.program import Value
from backlit.compile.trace.memory import Memory

SIZE = 1 << 16


def peak_of(run):
    """Bytes at the worst moment of a call."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_tracing_needs_little_more_memory_than_running():
    def step(x):
        for _ in range(40):
            x = bl.sin(x * 1.01)
        return x.sum()

    x = bl.tensor(np.linspace(0.0, 1.0, SIZE))
    step(x)
    bl.compile(lambda y: y + 1.0)(x)
    plain = peak_of(lambda: step(x))
    assert peak_of(lambda: bl.compile(step)(x)) < plain + 4 * x.numpy().nbytes


def test_memory_that_is_used_again_holds_nothing_known():
    memory = Memory()
    for _ in range(50):
        array = np.empty(SIZE)
        assert memory.get(array) is None
        assert not memory.is_stale(array)
        memory.put(array, Value(array.shape, array.dtype))
        memory.wrote(array[1:], Value((SIZE - 1,), array.dtype))
        assert memory.is_stale(array)


def foreign(array):
    return np.frombuffer(memoryview(array))


@pytest.mark.parametrize("shown", [lambda a: a, foreign], ids=["its own", "another's"])
@pytest.mark.parametrize("written", [lambda a: a, foreign], ids=["its own", "another's"])
def test_a_write_makes_other_views_stale(shown, written):
    memory, array = Memory(), np.arange(10.0)
    values = [Value((5,), array.dtype) for _ in range(4)]
    first, second = shown(array)[:5], shown(array)[5:]
    memory.put(first, values[0])
    memory.put(second, values[1])
    changed = written(array)[2:7:4]
    memory.wrote(changed, values[2])
    assert memory.is_stale(first)
    assert memory.is_stale(second)
    assert memory.get(first) is None
    assert memory.get(written(array)[2:7:4]) is values[2]
    memory.put(first, values[3])
    assert memory.get(array[:5]) is values[3]


def test_views_side_by_side_and_empty_ones_are_left_alone():
    memory, array = Memory(), np.arange(10.0)
    value, other = Value((5,), array.dtype), Value((0,), array.dtype)
    memory.put(array[:5], value)
    memory.put(array[7:7], other)
    memory.wrote(array[5:], Value((5,), array.dtype))
    assert memory.get(array[:5]) is value
    assert memory.get(array[7:7]) is other
