"""Garbage is not looked for while a function is traced and compiled, and is afterwards."""

import gc

import pytest

import backlit as bl
from backlit.compile import collection
from backlit.compile.collection import no_collection

X = bl.tensor([1.0, 2.0])


def test_the_collector_rests_while_a_function_is_traced():
    seen = []

    @bl.compile
    def f(x):
        seen.append(gc.isenabled())
        return x * 2.0

    assert gc.isenabled()
    assert f(X).tolist() == f(X).tolist() == [2.0, 4.0]
    assert set(seen) == {False}
    assert gc.isenabled()


def test_it_works_again_after_an_error():
    @bl.compile
    def f(x):
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        f(X)
    assert gc.isenabled()


def test_who_turned_it_off_keeps_it_off():
    gc.disable()
    try:
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_blocks_inside_each_other():
    with no_collection():
        with no_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.fixture
def nothing_frozen(monkeypatch):
    """The tests' own programs are frozen, for speed."""
    monkeypatch.setattr(collection, "_frozen", False)
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("nothing_frozen")
def test_what_was_made_in_a_block_counts_as_old():
    with no_collection():
        made = [[] for _ in range(100_000)]
    assert max(gc.get_count()[1:]) == 0 and gc.get_count()[0] < 1000, "or the search would come now"
    assert len(made) == 100_000


@pytest.mark.usefixtures("nothing_frozen")
def test_what_the_program_froze_stays_frozen():
    gc.freeze()
    with no_collection():
        pass
    assert gc.get_freeze_count() > 0


def test_what_is_frozen_is_counted_once(monkeypatch):
    counts = []
    monkeypatch.setattr(collection, "_frozen", False)
    monkeypatch.setattr(gc, "get_freeze_count", lambda: counts.append(1) or 5)
    for _ in range(3):
        with no_collection():
            pass
    assert len(counts) == 1
