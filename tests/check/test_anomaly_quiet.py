"""What detect_anomaly must not report, change or keep."""

import gc
import weakref

import numpy as np
import pytest

import backlit as bl
from backlit import nn
from backlit.check.first_culprit.culprit import Watch
from backlit.graph import mode

INF = float("inf")


def leaf(values):
    return bl.tensor(values, requires_grad=True)


def attention():
    scores = leaf([[1.0, 2.0], [3.0, 4.0]])
    mask = bl.tensor([[False, True], [False, False]])
    return bl.softmax(scores.masked_fill(mask, -INF), 1)[:, 0].sum()


def causal_attention():
    q, k, v = (bl.randn(2, 4, 3, requires_grad=True) for _ in range(3))
    return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum()


def masked_root():
    x = leaf([4.0, 0.0, -1.0])
    return bl.where(x > 0, x.sqrt(), x).sum()


def filled_in():
    x = leaf([4.0, 0.0, -1.0])
    return bl.log(x).masked_fill(x <= 0, 0.0).sum()


def cleaned():
    return bl.nan_to_num(leaf([1.0, float("nan"), INF])).sum()


def unused():
    x = leaf([1.0, 0.0])
    x.log()
    return x.sum()


def saturated():
    return bl.sigmoid(leaf([1000.0, -1000.0])).sum()


@pytest.mark.parametrize(
    "case", [attention, causal_attention, masked_root, filled_in, cleaned, unused, saturated], ids=lambda c: c.__name__
)
def test_nothing_to_report(case):
    with bl.autograd.detect_anomaly():
        case().backward()


def test_results_and_gradients_are_the_same():
    def step(watched):
        bl.manual_seed(3)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
        loss = nn.functional.cross_entropy(model(bl.randn(6, 5)), bl.tensor([0, 1, 2, 0, 1, 2]))
        loss.backward()
        return [loss.item(), *(p.grad.tolist() for p in model.parameters())]

    plain = step(False)
    with bl.autograd.detect_anomaly():
        assert step(True) == plain


def test_nothing_is_kept_alive():
    watch = Watch()
    watch.begin()
    try:
        for _ in range(3):
            loss = attention()
            node = weakref.ref(loss.grad_fn)
            loss.backward()
            del loss
            gc.collect()
            assert node() is None
        assert not watch._by_id and not len(watch._by_node)
    finally:
        watch.end()
    assert watch not in mode.observers and watch not in mode.walkers


def test_it_is_gone_after_an_error():
    before = mode.observers, mode.walkers
    with pytest.raises(ZeroDivisionError), bl.autograd.detect_anomaly():
        raise ZeroDivisionError
    assert (mode.observers, mode.walkers) == before


def test_large_finite_values_are_no_anomaly():
    x = leaf(np.full(4, 1e25, np.float32))
    with bl.autograd.detect_anomaly():
        (x * 1e5).sum().backward()
    assert x.grad.tolist() == [pytest.approx(1e5)] * 4
