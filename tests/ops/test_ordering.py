"""Sorting and ranking: order of equal elements, NaN, options, where gradients go."""

from __future__ import annotations

import math

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError

NAN = math.nan


def test_stable_orders_keep_equal_elements_in_place():
    x = bl.tensor([1, 0, 1, 0, 1] * 20)
    up = bl.sort(x, stable=True).indices.numpy()
    down = bl.argsort(x, descending=True, stable=True).numpy()
    zeros, ones = np.flatnonzero(x.numpy() == 0), np.flatnonzero(x.numpy() == 1)
    np.testing.assert_array_equal(up, [*zeros, *ones])
    np.testing.assert_array_equal(down, [*ones, *zeros])


def test_nan_counts_as_largest():
    x = bl.tensor([NAN, 1.0, 3.0])
    assert bl.argsort(x).tolist() == [1, 2, 0]
    assert bl.argsort(x, descending=True).tolist() == [0, 2, 1]
    assert bl.topk(x, 2).indices.tolist() == [0, 2]
    assert bl.topk(x, 2, largest=False).indices.tolist() == [1, 2]
    assert bl.kthvalue(x, 2).values.item() == 3.0


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_topk_selects_the_right_elements(largest, ordered):
    x = np.random.default_rng(0).permutation(60).reshape(3, 20).astype(np.float32)
    values, indices = bl.topk(bl.tensor(x), 5, 1, largest, ordered)
    best = np.sort(x, 1)[:, ::-1][:, :5] if largest else np.sort(x, 1)[:, :5]
    found = values.numpy() if ordered else np.sort(values.numpy(), 1)[:, :: -1 if largest else 1]
    np.testing.assert_array_equal(found, best)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), 1), values.numpy())


def test_topk_gradient_reaches_the_selected_only():
    x = bl.tensor([1.0, 4.0, 3.0, 2.0], requires_grad=True)
    (bl.topk(x, 2).values * bl.tensor([10.0, 20.0])).sum().backward()
    assert x.grad.tolist() == [0.0, 10.0, 20.0, 0.0]


def test_sort_gradient_undoes_the_permutation():
    x = bl.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    (x.sort(1).values * bl.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [[3.0, 1.0, 2.0]]


def test_numpy_sort_gives_the_values():
    x = bl.tensor([3.0, 1.0, 2.0], requires_grad=True)
    y = np.sort(x)
    assert y.tolist() == [1.0, 2.0, 3.0] and y.requires_grad
    assert np.max(x).item() == 3.0 and np.argsort(x).tolist() == [1, 2, 0]


def test_median_is_the_lower_of_the_middle_two():
    x = bl.tensor([[4.0, 1.0, 3.0, 2.0], [5.0, NAN, 0.0, 1.0]])
    assert x[0].median().item() == 2.0
    values, indices = x.median(1)
    assert indices.tolist() == [3, 1] and values[0].item() == 2.0 and math.isnan(values[1].item())
    assert math.isnan(x.median().item())


def test_scalars_are_lines_of_one():
    x = bl.tensor(3.0, requires_grad=True)
    assert bl.sort(x).indices.item() == 0
    (x.max(0).values + bl.topk(x, 1).values + x.median(0).values).backward()
    assert x.grad.item() == 3.0


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda x: bl.topk(x, 4), "k=4 is not between 0 and 3"),
        (lambda x: bl.kthvalue(x, 0), "k=0 is not between 1 and 3"),
        (lambda x: bl.sort(x, 2), "dimension 2 does not exist"),
    ],
)
def test_errors(call, complaint):
    with pytest.raises(OperationError, match=complaint):
        call(bl.zeros(2, 3))
