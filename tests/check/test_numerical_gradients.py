"""Numerical gradients: right where functions are smooth, honest about kinks, and able to find a wrong rule."""

import numpy as np
import pytest

import backlit as bl
from backlit.check import bends, check_network, compare_gradients, numerical_gradient
from backlit.errors import OperationError


def test_agrees_with_calculus_and_leaves_the_tensor_alone():
    x = bl.tensor([0.3, -1.2, 2.0], dtype=bl.float64)
    before = x.tolist()
    found = numerical_gradient(lambda t: (bl.sin(t) * t).sum(), x)
    assert np.allclose(found, np.cos(before) * before + np.sin(before), atol=1e-8)
    assert x.tolist() == before


def test_only_the_entries_asked_for():
    x = bl.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=bl.float64)
    found = numerical_gradient(lambda t: (t * t).sum(), x, entries=[(1, 0)])
    assert np.isnan(found).tolist() == [[True, True], [False, True]]
    assert np.isclose(found[1, 0], 6)


def test_a_failing_function_leaves_the_tensor_alone():
    x = bl.tensor([1.0], dtype=bl.float64)
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda t: 1 / 0, x)
    assert x.tolist() == [1.0]


def test_float32_is_refused():
    with pytest.raises(OperationError, match="float64"):
        numerical_gradient(lambda t: t.sum(), bl.tensor([1.0]))


def test_comparison_names_the_worst_entry():
    found = compare_gradients(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, np.nan]))
    assert (found.entry, found.analytic, found.numeric, found.checked) == ((1,), 2.0, 2.5, 2)
    assert np.isclose(found.relative, 0.2)
    assert compare_gradients(np.array([np.nan]), np.array([1.0])).relative == np.inf


def test_kinks_are_seen():
    x = bl.tensor([0.0, 1.0], dtype=bl.float64)
    assert bends(lambda t: bl.relu(t).sum(), x, (0,))
    assert not bends(lambda t: bl.relu(t).sum(), x, (1,))


def test_a_network_passes_and_is_not_changed():
    bl.manual_seed(0)
    model = bl.nn.Sequential(bl.nn.Linear(5, 7), bl.nn.ReLU(), bl.nn.Linear(7, 3))
    before = [p.tolist() for p in model.parameters()]
    rng = np.random.default_rng(0)
    found = check_network(
        model, bl.nn.CrossEntropyLoss(), rng.normal(size=(6, 5)).astype(np.float32), rng.integers(0, 3, 6)
    )
    assert [check.name for check in found] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert max(check.comparison.relative for check in found) < 1e-5
    assert all(check.comparison.checked + check.comparison.kinks == min(12, np.prod(check.shape)) for check in found)
    assert [p.tolist() for p in model.parameters()] == before
    assert all(p.dtype == bl.float32 and p.grad is None for p in model.parameters())


def test_a_wrong_rule_is_found():
    class Wrong(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x  # the factor 2 is missing

    class Layer(bl.nn.Linear):
        def forward(self, x):
            return Wrong.apply(super().forward(x))

    bl.manual_seed(0)
    rng = np.random.default_rng(1)
    found = check_network(Layer(4, 2), bl.nn.MSELoss(), rng.normal(size=(3, 4)), rng.normal(size=(3, 2)))
    assert min(check.comparison.relative for check in found) > 0.4
    assert all(check.comparison.kinks == 0 for check in found)
