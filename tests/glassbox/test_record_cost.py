"""What a record holds on to: nothing outside its block, and no arrays where only statistics are wanted."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import backlit as bl
from backlit.errors import RecordError
from backlit.glassbox.record import Statistics
from backlit.glassbox.record.numbers import Kept
from backlit.glassbox.record.summary import Summary
from backlit.graph import mode

BATCH_BYTES = 128 * 784 * 4


def bytes_a_step(keep, backward):
    """How much a recorded training loop holds on to for each step more, its fresh batch of 400 KB included."""
    held = {}
    for steps in (5, 15):
        model = bl.nn.Sequential(bl.nn.Linear(784, 32), bl.nn.ReLU(), bl.nn.Dropout(0.5), bl.nn.Linear(32, 10))
        optimizer = bl.optim.SGD(model.parameters(), lr=0.1)
        gc.collect()
        tracemalloc.start()
        with bl.record(keep=keep) as rec:
            for _ in range(steps):
                loss = bl.nn.functional.cross_entropy(model(bl.randn(128, 784)), bl.zeros(128, dtype=bl.int64))
                if backward:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        del loss
        gc.collect()
        held[steps] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(rec.find(op="relu")) == steps
    return (held[15] - held[5]) / 10


@pytest.mark.parametrize("backward", [True, False])
def test_statistics_alone_hold_no_arrays_over_a_long_loop(backward):
    assert bytes_a_step("stats", backward) < BATCH_BYTES / 8
    assert bytes_a_step("all", backward) > BATCH_BYTES  # what the measure would see


def test_a_filter_holds_what_it_asks_for_over_a_long_loop():
    kept = bytes_a_step(lambda brief: brief.op == "relu", True)
    assert 128 * 32 * 4 < kept < BATCH_BYTES / 4


def test_a_record_leaves_nothing_behind_that_observes():
    with bl.record():
        bl.ones(2).sum()
    with pytest.raises(ZeroDivisionError), bl.record():
        1 / 0  # noqa: B018
    w = bl.tensor(1.0, requires_grad=True)
    bl.explain(w * 2).rerun()
    assert mode.observers == () and mode.walkers == ()


def test_what_was_not_kept_says_so_when_a_rerun_needs_it():
    bl.manual_seed(0)
    w = bl.ones(8, requires_grad=True)
    rec = bl.explain(bl.dropout(w, 0.5, True).sum(), keep="stats")
    with pytest.raises(RecordError, match="are no longer known"):
        rec.rerun(values={"w": np.zeros(8)}, seed=1.0)


# -- summaries, made at once, say what statistics say -------------------------------------------------------------


def assert_same(array):
    exact, quick = Statistics.of(array), Kept(array.copy()).dropped().statistics
    scale = max(exact.absmax, 1e-300) if np.isfinite(exact.absmax) else 1.0
    assert (quick.size, quick.nans, quick.infs) == (exact.size, exact.nans, exact.infs)
    for name in ("min", "max", "absmax"):
        np.testing.assert_array_equal(getattr(quick, name), getattr(exact, name))
    np.testing.assert_allclose([quick.norm, quick.zeros], [exact.norm, exact.zeros], rtol=1e-5)
    np.testing.assert_allclose(
        [quick.mean / scale, quick.std / scale], [exact.mean / scale, exact.std / scale], atol=1e-6
    )


@given(
    st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.float16]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_side=5))
    )
)
def test_quick_summaries_agree_with_statistics(array):
    with np.errstate(all="ignore"):
        assert_same(array)


@pytest.mark.parametrize("mean", [0.0, 0.3, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("scale", [1e-20, 1e-5, 1.0, 1e10, 1e30])
def test_large_single_precision_arrays_lose_no_digits(mean, scale):
    rng = np.random.default_rng(0)
    assert_same((scale * (mean + rng.normal(size=(100, 101)))).astype(np.float32))


def test_spoiled_and_turned_and_constant_arrays():
    large = np.ones((80, 90), np.float32)
    large[3, 4] = np.nan
    assert_same(large)
    large[3, 4] = -np.inf
    assert_same(large)
    assert_same(np.full((80, 90), 0.1, np.float32))
    assert_same(np.zeros((80, 90), np.float32))
    assert_same(np.arange(8000.0).reshape(80, 100).T[::2])


def test_the_histogram_of_a_large_array_is_that_of_a_sample():
    array = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    summary = Summary.of(array)
    assert summary.sample.size <= 256
    counts = Kept(array).dropped().statistics.counts
    exact = np.array(Statistics.of(array).counts) / 100_000
    np.testing.assert_allclose(np.array(counts) / sum(counts), exact, atol=0.08)
