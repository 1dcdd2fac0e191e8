"""The gradient by path: the sum over all paths is the gradient, whatever the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_program

import backlit as bl
from backlit.errors import GradientError, RecordError
from backlit.glassbox.contributions import contributions


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_the_sum_over_paths_is_the_gradient(seed):
    rec = bl.explain(random_program(seed))
    for node in rec.leaves:
        if node.upstream is None:
            continue
        found = contributions(rec, node, top=3)
        assert found.count >= len(found)
        np.testing.assert_allclose(found.total, node.upstream, rtol=1e-9, atol=1e-10)
        if found.complete:
            every = contributions(rec, node, top=found.count)
            assert len(every) == found.count and not np.any(every.rest)
            np.testing.assert_allclose(every.total, node.upstream, rtol=1e-9, atol=1e-10)


def test_numbers_along_each_path():
    x = leaf(3.0)
    rec = bl.explain(x * x + 2 * x)
    found = contributions(rec, "x")
    assert [float(path.value) for path in found] == [3.0, 3.0, 2.0]
    assert [n.name for n in found[2].nodes] == ["add", "mul#2", "x"]
    assert [float(g) for g in found[2].gradients] == [1.0, 1.0, 2.0]
    assert found.complete and float(found.total) == 8.0


def test_top_paths_and_the_sum_of_the_others():
    x = leaf([1.0, 2.0])
    rec = bl.explain(sum((x * float(k)).sum() for k in range(1, 8)))
    found = contributions(rec, x, top=2)
    assert [round(path.norm / 2**0.5) for path in found] == [7, 6]
    np.testing.assert_array_equal(found.rest, [15.0, 15.0])
    assert "… and 5 more paths together" in str(found) and "from 7 paths" in str(found)


def test_very_many_paths_are_counted_and_the_largest_searched():
    for start, complete in ((1.0, True), ([1.0, 1.0], False)):
        x = leaf(start)
        y = x
        for _ in range(40):
            y = y * 0.9 + y * 0.1
        found = contributions(bl.explain(y), x, top=3)
        assert (found.count, found.complete) == (2**40, complete)
        sizes = [float(np.ravel(path.value)[0]) for path in found]
        np.testing.assert_allclose(sizes, [0.9**40, 0.9**39 * 0.1, 0.9**39 * 0.1])
        np.testing.assert_allclose(found.total, np.ones(x.shape))
        assert f"{2**40 - 3:,} more paths" in str(found) and "→ … 69 more … →" in str(found)
        assert ("too many to look at each" in str(found)) != complete


def test_paths_that_cancel_are_pointed_out():
    x = leaf(1.0)
    assert "work against each other" in str(contributions(bl.explain(x * 5.0 - x * 4.9), x))
    assert "work against" not in str(contributions(bl.explain(x * 5.0 + x), x))


def test_two_results_and_an_intermediate():
    x = leaf(2.0)
    with bl.record() as rec:
        h = x * 3.0
        bl.autograd.backward([h * h, h + 1.0])
    found = contributions(rec, "h")
    assert sorted(float(path.value) for path in found) == [1.0, 6.0, 6.0]
    assert float(contributions(rec, x).total) == x.grad.item() == 39.0


def test_what_cannot_be_asked():
    x = leaf(2.0)
    rec = bl.explain(x * bl.tensor(3.0))
    with pytest.raises(RecordError, match="at least one"):
        contributions(rec, x, top=0)
    with pytest.raises(GradientError, match="no gradient came"):
        contributions(rec, rec.leaves[1])
