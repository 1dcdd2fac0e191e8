"""A weight's gradient that only its update takes is made and used up strip after strip, in a strip's memory."""

from itertools import pairwise

import numpy as np
import pytest

import backlit as bl
from backlit.compile.assemble import strips

pytestmark = pytest.mark.usefixtures("planned_anew", "one_thread")

OPTIMIZERS = {
    "Adam": lambda p: bl.optim.Adam(p, lr=1e-2),
    "AdamW": lambda p: bl.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
}


def trained(optimizer, sizes=(40, 50, 60, 3), **options):
    """A compiled training step, and the weights and gradients after some steps."""
    bl.manual_seed(0)
    layers = [bl.nn.Linear(a, b) for a, b in pairwise(sizes)]
    net = bl.nn.Sequential(*[part for layer in layers for part in (layer, bl.nn.Tanh())][:-1])
    optim = OPTIMIZERS[optimizer](net.parameters())
    rng = np.random.default_rng(0)
    x, y = bl.tensor(rng.normal(size=(20, sizes[0])).astype(np.float32)), bl.tensor(rng.integers(0, 3, 20))

    @bl.compile(**options)
    def step(x, y):
        optim.zero_grad()
        loss = bl.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optim.step()
        return loss

    for _ in range(4):
        step(x, y)
    left = [x.numpy(force=True).copy() for p in net.parameters() for x in (p, p.grad if options else p)]
    return step._latest().executable.built, left


def shares_of(built):
    """Into how many strips each region is cut that is."""
    return [region.ways[0].shares.parts for region in built.regions if region.strip is not None]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", [1000, 1700, 4000])
def test_the_same_weights_as_in_one_piece(monkeypatch, optimizer, size):
    whole, wanted = trained(optimizer)
    assert not shares_of(whole)
    monkeypatch.setattr(strips, "STRIP", size)
    monkeypatch.setattr(strips, "_WORTH", 10.0)
    cut, found = trained(optimizer)
    assert len(shares_of(cut)) >= 1 and min(shares_of(cut)) >= 2
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_less_memory(monkeypatch):
    whole, _ = trained("Adam", (300, 300, 3))
    monkeypatch.setattr(strips, "STRIP", 30_000)
    monkeypatch.setattr(strips, "_WORTH", 10.0)
    cut, _ = trained("Adam", (300, 300, 3))
    assert shares_of(cut) == [12]
    assert cut.arena.size < whole.arena.size - 200_000
    assert not cut.frame.shared


def test_gradients_that_are_wanted_are_whole(monkeypatch):
    _, wanted = trained("Adam", gradients=True)
    monkeypatch.setattr(strips, "STRIP", 1000)
    monkeypatch.setattr(strips, "_WORTH", 10.0)
    _, found = trained("Adam", gradients=True)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_an_old_weight_is_read_before_it_is_overwritten(monkeypatch):
    """The gradient goes on through the weight that the update overwrites, so the pair waits for that."""
    monkeypatch.setattr(strips, "STRIP", 1000)
    monkeypatch.setattr(strips, "_WORTH", 10.0)
    built, _ = trained("Adam")
    assert shares_of(built)
    order = {m: i for i, r in enumerate(built.regions) for g in r.groups for m in g.members}
    layouts = built.layouts
    for value, target in built.order.in_place.items():
        made = next(i for m, i in order.items() if value in m.results)
        readers = [i for m, i in order.items() if any(layouts[o].base is target for o in m.operands)]
        assert max(readers) <= made


def test_two_threads_share_instead(monkeypatch, number_of_threads):
    monkeypatch.setattr(strips, "STRIP", 1000)
    number_of_threads(2)
    built, _ = trained("Adam")
    assert not shares_of(built)
