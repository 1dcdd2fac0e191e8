"""What the answers rest on: breadcrumbs that hold no memory, are bounded, and leave recorded operations alone; and
answers that are always there and change nothing."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backlit as bl
from backlit.breadcrumbs import MANY, RECENT, recent, returned, trail
from backlit.journal import CALLS, journal
from backlit.ops.registry import REGISTRY
from backlit.tensor import Tensor


def test_a_running_total_does_not_grow():
    w = bl.tensor([1.0, 2.0], requires_grad=True)
    total = bl.tensor(0.0)

    def batches(count):
        nonlocal total
        for _ in range(count):
            loss = (w * w).sum()
            total = total + loss.detach()
            loss.backward()
            loss.item()
            w.grad = None

    def objects():
        gc.collect()
        return len(gc.get_objects())

    batches(300)
    before = objects()
    batches(3000)
    assert objects() - before < 1500  # one object kept for each batch would be 3000
    assert total._cut.size <= MANY
    assert {way[-1].kind for way in total._cut.ends()} == {"detach"}


def test_a_total_over_many_lines_still_names_them():
    first, second = bl.tensor(1.0, requires_grad=True), bl.tensor(2.0, requires_grad=True)
    total = (first * 2).detach()
    for _ in range(500):
        total = total + (second * 3).detach()
    loss = total * bl.tensor(1.0, requires_grad=True)
    assert bl.why(first, loss).source.text == "total = (first * 2).detach()"
    assert bl.why(second, loss).source.text == "total = total + (second * 3).detach()"


def test_nothing_is_kept_alive():
    w = bl.ones(1000, requires_grad=True)
    h = w * 2
    kept = h.detach().exp()
    watched = [weakref.ref(w), weakref.ref(h), weakref.ref(h._node), weakref.ref(w._data)]
    h.sum().item()
    np.asarray(h).sum()
    (h * kept).sum().backward()
    with bl.no_grad():
        out = h * 3
    bl.why(h, out)
    del w, h
    assert kept._cut is not None and out._cut is not None
    assert [ref() for ref in watched] == [None] * 4


def test_an_answer_keeps_nothing_alive():
    w = bl.tensor([0.0, 1.0], requires_grad=True)
    loss = w.log().sum()
    watched = weakref.ref(w), weakref.ref(loss._node)
    verdict = bl.why(w, loss)
    del w, loss
    assert verdict.cause == "poisoned"
    assert [ref() for ref in watched] == [None, None]


def test_the_trail_is_bounded():
    w = bl.tensor(2.0, requires_grad=True)
    for i in range(3 * MANY):
        exec(compile("w.item(); w.numpy(force=True)", f"made_up_{i}.py", "exec"), {"w": w})
        bl.autograd.grad(w * 1, w)
    assert len(recent) <= RECENT and len(trail.exports) <= MANY and len(trail.numbers) <= MANY
    assert len(journal.notes) <= CALLS


def test_recorded_results_carry_no_cut():
    w, x = bl.tensor([1.0, 2.0], requires_grad=True), bl.tensor([3.0, 4.0])
    assert (w * x)._cut is None and (x * x)._cut is None and x.exp().sum()._cut is None


def test_numbers_are_known_in_their_own_thread():
    w = bl.tensor(2.0, requires_grad=True)
    number = (w * 3).item()
    found = []
    thread = threading.Thread(target=lambda: found.append(returned(number)))
    thread.start()
    thread.join()
    assert found == [None] and returned(number).kind == "item"


def test_nothing_changes():
    w = bl.tensor([1.0, -2.0], requires_grad=True)
    calls = []
    w.register_hook(lambda g: calls.append(g))
    h = w * 3
    h.retain_grad()
    h.register_hook(lambda g: calls.append(g))
    loss = h.relu().sum()
    for _ in range(3):
        bl.why(w, loss)
        bl.why(h, loss)
        bl.why(w)
    assert w.grad is None and h.grad is None and not calls
    loss.backward()
    grad = w.grad
    bl.why(w, loss)
    assert len(calls) == 2 and w.grad is grad and w.grad.tolist() == [3.0, 0.0] and h.grad.tolist() == [1.0, 0.0]


def test_the_weights_moved_on():
    w = bl.tensor([1.0, -2.0], requires_grad=True)
    optimizer = bl.optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    loss.backward()
    optimizer.step()
    verdict = bl.why(w, loss)
    assert verdict.cause == "chain_rule"
    assert any("written to since" in fact for fact in verdict.evidence)


def test_random_numbers_that_were_released():
    w = bl.ones(100, requires_grad=True)
    loss = bl.nn.functional.dropout(w * 2, 0.2).sum()
    assert bl.why(w, loss).cause == "no_backward"
    loss.backward()
    verdict = bl.why(w, loss)
    assert verdict.cause == "graph_gone" and "before backward()" in verdict.remedy
    assert "dropout" in verdict.sentence and "drew random numbers" in verdict.sentence


def _leaves(data, made):
    if isinstance(data, np.ndarray) and data.dtype.kind == "f":
        made.append(bl.tensor(data, requires_grad=True))
        return made[-1]
    if isinstance(data, (list, tuple)):
        return type(data)(_leaves(item, made) for item in data)
    return data


def _results(operation, sample, made):
    try:
        found = operation.function(*_leaves(sample.args, made), **sample.kwargs)
    except bl.errors.OperationError:  # an input that cannot be differentiated, such as class weights
        return []
    found = found if isinstance(found, (tuple, list)) else [found]
    return [result for result in found if isinstance(result, Tensor)]


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_there_is_an_answer_for_every_operation(name):
    operation = REGISTRY[name]
    for sample in list(operation.samples(np.random.default_rng(0)) if operation.samples else ())[:2]:
        made = []
        results = _results(operation, sample, made)
        smooth = [result.sum() for result in results if result.dtype.kind == "f"]
        for loss in [bl.stack(smooth).sum()] if smooth else results[:1]:
            for tensor in (*made, *results):
                verdict = bl.why(tensor, loss)
                assert verdict.cause and verdict.sentence and verdict.remedy and str(verdict)
                if loss.requires_grad and any(tensor is one for one in made):
                    assert verdict.cause not in ("unused", "graph_gone"), str(verdict)


_STEPS = {
    "double": lambda x, v: x * 2,
    "join": lambda x, v: x + v,
    "square": lambda x, v: x * x,
    "relu": lambda x, v: x.relu(),
    "sigmoid": lambda x, v: x.sigmoid(),
    "detach": lambda x, v: x.detach(),
    "data": lambda x, v: x.data,
    "round": lambda x, v: x.round(),
    "long": lambda x, v: x.long().float(),
    "copy": lambda x, v: bl.tensor(x),
    "numpy": lambda x, v: bl.tensor(x.numpy(force=True) * 1.5),
    "list": lambda x, v: bl.tensor(x.tolist()),
    "item": lambda x, v: x * x.sum().item(),
    "view": lambda x, v: x.reshape(3, 1)[:, 0],
    "where": lambda x, v: bl.where(x > 1, x, v),
    "max": lambda x, v: x.amax() + v,
    "log": lambda x, v: x.log(),
    "leaf": lambda x, v: x.detach().requires_grad_(),
}


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(_STEPS)), max_size=6), st.booleans(), st.booleans())
def test_there_is_an_answer_for_every_program(steps, walk, given_loss):
    """Whatever is done to a tensor, its gradient is explained; None is traced to a line wherever it was cut."""
    w, v = bl.tensor([0.5, 1.5, -0.5], requires_grad=True), bl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    h = w
    for step in steps:
        h = _STEPS[step](h, v)
    loss = (h * v).sum()
    if walk:
        loss.backward()
    verdict = bl.why(w, loss if given_loss else None)
    assert str(verdict) and verdict.to_dict()["cause"]
    cut = {"detach", "data", "long", "copy", "numpy", "list", "leaf"}.intersection(steps)
    if cut and walk and w.grad is None:
        assert verdict.gradient == "None"
        assert verdict.source is not None and verdict.source.text.split(":")[0].strip('"') in cut, str(verdict)
    if not cut and walk:
        assert w.grad is not None and verdict.gradient != "None"


def test_a_record_does_not_see_the_question():
    @bl.autograd.custom_vjp
    def doubled(x):
        return x * 2, lambda upstream: upstream * 2

    w = bl.tensor([1.0, 2.0], requires_grad=True)
    with bl.record() as rec:
        loss = doubled(w).sum()
        bl.why(w, loss)
        loss.backward()
    with bl.record() as plain:
        loss = doubled(w).sum()
        loss.backward()
    assert [node.op for node in rec.nodes] == [node.op for node in plain.nodes]
