"""Softmax and its relatives at extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import backlit as bl

INF = math.inf


def test_large_inputs_do_not_overflow():
    x = bl.tensor([1000.0, 1000.0, -1000.0], requires_grad=True)
    assert bl.softmax(x, 0).tolist() == [0.5, 0.5, 0.0]
    np.testing.assert_allclose(
        bl.log_softmax(x, 0).tolist(), [-math.log(2), -math.log(2), -2000 - math.log(2)], rtol=1e-6
    )
    bl.logsumexp(x, 0).backward()
    np.testing.assert_allclose(x.grad.tolist(), [0.5, 0.5, 0.0], rtol=1e-7)


def test_masked_entries_receive_nothing():
    x = bl.tensor([-INF, 1.0, 1.0], requires_grad=True)
    out = bl.softmax(x, 0)
    (out * bl.tensor([7.0, 1.0, 0.0])).sum().backward()
    assert out.tolist() == [0.0, 0.5, 0.5]
    assert x.grad.tolist() == [0.0, 0.25, -0.25]


def test_logsumexp_of_infinities_and_of_nothing():
    assert bl.logsumexp(bl.tensor([-INF, -INF]), 0).item() == -INF
    assert bl.logsumexp(bl.tensor([INF, 0.0]), 0).item() == INF
    assert bl.logsumexp(bl.zeros(2, 0), 1).tolist() == [-INF, -INF]
    assert bl.logsumexp(bl.tensor([0, 0]), 0).item() == pytest.approx(math.log(2))


def test_running_logsumexp_of_far_apart_numbers():
    x = bl.tensor([-1000.0, 0.0, 1000.0], dtype=bl.float64, requires_grad=True)
    y = bl.logcumsumexp(x, 0)
    assert y.tolist() == [-1000.0, 0.0, 1000.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_log_softmax_is_exact_where_softmax_vanishes():
    y = bl.log_softmax(bl.tensor([0.0, -200.0]), 0)
    assert y[1].item() == -200.0


def test_a_missing_dim_warns_as_in_torch():
    with pytest.warns(UserWarning, match="no dim"):
        assert bl.softmax(bl.zeros(2, 4)).tolist()[0] == [0.25] * 4


def test_dtype_converts_first():
    assert bl.softmax(bl.tensor([1, 2]), 0, dtype=bl.float64).dtype == bl.float64
    assert bl.softmin(bl.tensor([0.0, INF]), 0).tolist() == [1.0, 0.0]
