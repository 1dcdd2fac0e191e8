"""Reductions, extremes, norms and statistics where random samples do not go: ties, zeros, extremes, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError, UnsupportedError
from backlit.ops.norms import vector_norm

INF, NAN = math.inf, math.nan


def gradient(f, values, dtype=np.float64):
    """The value of ``f`` and its gradient, as arrays."""
    x = bl.tensor(np.array(values, dtype), requires_grad=True)
    y = f(x)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


def hessian_row(f, values):
    """The gradient of the sum of the gradient."""
    x = bl.tensor(np.array(values, np.float64), requires_grad=True)
    (g,) = bl.autograd.grad(f(x), x, create_graph=True)
    (h,) = bl.autograd.grad(g.sum(), x)
    return h.numpy()


# -- products -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 3.0, 5.0], [15.0, 10.0, 6.0]),
        ([2.0, 0.0, 5.0], [0.0, 10.0, 0.0]),
        ([0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
        ([0.0], [1.0]),
    ],
)
def test_product_gives_each_factor_the_product_of_the_others(values, expected):
    np.testing.assert_array_equal(gradient(bl.prod, values)[1], expected)


def test_product_without_zeros_that_underflows_keeps_its_gradient():
    y, g = gradient(bl.prod, [1e-200, 1e-200, 1e200])
    assert y == 0.0
    np.testing.assert_allclose(g, [1.0, 1.0, 0.0], rtol=1e-12)


def test_product_second_derivative_at_two_zeros():
    # d²(abc)/da db = c: with a = b = 0 only that mixed derivative is left.
    np.testing.assert_array_equal(hessian_row(bl.prod, [0.0, 0.0, 7.0]), [7.0, 7.0, 0.0])


def test_running_product_at_zeros():
    # y = (a, ab, abc) at (2, 0, 5): ∂Σy/∂a = 1 + b + bc, ∂/∂b = a + ac, ∂/∂c = ab.
    _, g = gradient(lambda x: bl.cumprod(x, 0), [2.0, 0.0, 5.0])
    np.testing.assert_array_equal(g, [1.0, 12.0, 0.0])


def test_running_product_of_a_long_line_with_zeros():
    rng = np.random.default_rng(3)
    x = rng.uniform(0.5, 1.5, 41)
    x[[7, 30]] = 0.0
    u = rng.normal(size=41)
    _, g = gradient(lambda t: bl.cumprod(t, 0) * bl.tensor(u), x)
    expected = [sum(u[k] * np.prod(np.delete(x[: k + 1], i)) for k in range(i, 41)) for i in range(41)]
    np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-12)


# -- extremes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [bl.max, bl.amax, lambda x: bl.amax(x, 0), lambda x: -bl.amin(-x)])
def test_ties_share_the_gradient_evenly(f):
    np.testing.assert_array_equal(gradient(f, [2.0, 1.0, 2.0, 2.0, 0.0])[1], np.array([1, 0, 1, 1, 0]) / 3)


def test_max_along_a_dimension_goes_to_the_first_of_several():
    y, g = gradient(lambda x: bl.max(x, 0).values, [2.0, 1.0, 2.0])
    assert y == 2.0
    np.testing.assert_array_equal(g, [1.0, 0.0, 0.0])


def test_three_forms_of_max():
    x = bl.tensor([[1.0, 5.0], [4.0, 2.0]])
    assert bl.max(x).item() == 5.0
    values, indices = x.max(1)
    assert values.tolist() == [5.0, 4.0] and indices.tolist() == [1, 0]
    assert x.min(dim=0, keepdim=True).indices.tolist() == [[0, 1]]
    assert bl.max(x, bl.tensor([[3.0]])).tolist() == [[3.0, 5.0], [4.0, 3.0]]


def test_nan_is_the_extreme_and_receives_the_gradient():
    y, g = gradient(bl.max, [1.0, NAN, 2.0, NAN])
    assert math.isnan(y)
    np.testing.assert_array_equal(g, [0.0, 0.5, 0.0, 0.5])
    assert bl.argmin(bl.tensor([1.0, NAN, 0.0])).item() == 1


def test_an_infinite_upstream_gradient_does_not_leak():
    x = bl.tensor([1.0, 3.0], requires_grad=True)
    bl.amax(x).backward(bl.tensor(INF))
    assert x.grad.tolist() == [0.0, INF]


def test_overwriting_returned_indices_is_noticed():
    x = bl.tensor([[1.0, 2.0]], requires_grad=True)
    values, indices = x.max(1)
    indices.zero_()
    with pytest.raises(bl.errors.OverwrittenError, match="index"):
        values.sum().backward()


def test_extremes_of_nothing_are_refused():
    for f in (bl.max, bl.amin, bl.argmax):
        with pytest.raises(OperationError, match=r"test_reductions.py"):
            f(bl.zeros(0))
    assert bl.amax(bl.zeros(0, 3), 1).shape == (0,)


# -- sums, statistics, questions ----------------------------------------------------------------------------------


def test_float16_is_added_up_in_float32():
    assert bl.ones(5000, dtype=bl.float16).sum().item() == 5000.0
    assert bl.mean(bl.full((5000,), 60000.0, dtype=bl.float16)).item() == 60000.0


def test_mean_of_nothing_is_nan():
    assert math.isnan(bl.mean(bl.zeros(0)).item())


def test_variance_of_nothing_is_nan_without_a_warning():
    x = bl.zeros(3, 0, requires_grad=True)
    assert x.var(dim=1).isnan().all() and x.std(dim=1).isnan().all() and bl.isnan(x.var())
    x.var(dim=1).sum().backward()
    assert x.grad.shape == (3, 0)


def test_variance_of_large_numbers_keeps_its_digits():
    assert bl.var(bl.tensor([1e8 + 1.0, 1e8 + 2.0, 1e8 + 3.0], dtype=bl.float64)).item() == 1.0


def test_corrections():
    x = bl.tensor([1.0, 3.0])
    assert x.var().item() == 2.0
    assert x.var(correction=0).item() == x.var(unbiased=False).item() == x.var(False).item() == 1.0
    assert math.isnan(bl.tensor([1.0]).var().item())
    with pytest.raises(OperationError, match="not both"):
        x.std(unbiased=True, correction=1)


def test_standard_deviation_of_equal_numbers_has_gradient_zero():
    y, g = gradient(bl.std, [2.0, 2.0, 2.0])
    assert y == 0.0
    np.testing.assert_array_equal(g, 0.0)


def test_dtypes_of_counting_and_asking():
    x = bl.tensor([[True, False], [True, True]])
    assert x.sum().dtype == bl.int64 and x.prod().dtype == bl.int64 and x.cumsum(0).dtype == bl.int64
    assert x.any().dtype == np.bool_ and bl.all(x, 1).tolist() == [False, True]
    assert bl.count_nonzero(bl.tensor([0.0, NAN, 2.0])).item() == 2
    assert bl.any(bl.zeros(0)).item() is False and bl.all(bl.zeros(0)).item() is True


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda x: x.sum(2), "dimension 2 does not exist in a tensor of shape \\(2, 3\\)"),
        (lambda x: x.mean((0, -2)), "names a dimension twice"),
        (lambda x: bl.cumsum(x, -3), "choose one from -2 to 1"),
        (lambda x: x.max(1.5), "whole number"),
        (lambda x: bl.mean(x.long()), "mean .*int64.*float"),
        (lambda x: bl.softmax(x.long(), 0), "softmax .*int64"),
        (lambda x: bl.norm(x, "max"), "not a norm"),
    ],
)
def test_errors_say_what_is_wrong_and_where(call, complaint):
    with pytest.raises(OperationError, match=complaint) as caught:
        call(bl.zeros(2, 3))
    assert "test_reductions.py" in str(caught.value)


# -- norms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF, -INF, -1])
def test_gradient_at_the_zero_vector_is_zero(p):
    y, g = gradient(lambda x: bl.norm(x, p), [0.0, 0.0])
    assert y == 0.0
    np.testing.assert_array_equal(g, 0.0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_euclidean_norm_beyond_the_range_of_squares(scale):
    y, g = gradient(bl.norm, np.array([3.0, 4.0]) * scale, np.float32)
    np.testing.assert_allclose(y, 5.0 * scale, rtol=1e-6)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)
    rows, _ = gradient(lambda x: bl.norm(x, dim=1), np.array([[3.0, 4.0], [0.0, 0.0], [1.0, INF]]) * scale, np.float32)
    np.testing.assert_allclose(rows, [5.0 * scale, 0.0, INF], rtol=1e-6)


def test_infinity_norm_is_shared_by_ties_and_the_zero_norm_counts():
    np.testing.assert_array_equal(gradient(lambda x: bl.norm(x, INF), [2.0, -2.0, 1.0])[1], [0.5, -0.5, 0.0])
    assert bl.norm(bl.tensor([0.0, 3.0, -1.0]), 0).item() == 2.0
    assert vector_norm(bl.tensor([[1.0, -2.0]]), 1, dim=1).tolist() == [3.0]
    with pytest.raises(UnsupportedError, match="nuclear"):
        bl.norm(bl.zeros(2, 2), "nuc")


# -- against PyTorch ----------------------------------------------------------------------------------------------


UNLIKE_TORCH = [
    # The product of the others is finite where PyTorch divides infinity by infinity.
    lambda call, values: "prod" in call and not math.isfinite(sum(values)),
    # Which of several equal elements is selected is left open.
    lambda call, values: ("topk" in call or "kthvalue" in call) and len(set(values)) < 3,
    # The sign of NaN is NaN here, 0 in PyTorch.
    lambda call, values: call == "t.norm(x, 1)" and math.isnan(sum(values)),
]
"""Where gradients differ, and why; values never do."""


@pytest.mark.peers
@pytest.mark.parametrize(
    "values", [[2.0, 1.0, 2.0], [0.0, 0.0, 1.0], [NAN, 1.0, 2.0], [-INF, 1.0, 1.0], [INF, 1.0, 0.0]]
)
@pytest.mark.parametrize(
    "call",
    [
        "t.max(x)", "t.min(x)", "t.max(x, 0)[0]", "t.median(x)", "t.median(x, 0)[0]", "t.prod(x)", "t.cumprod(x, 0)",
        "t.logsumexp(x, 0)", "t.softmax(x, 0)", "t.log_softmax(x, 0)", "t.sort(x, descending=True)[0]",
        "t.topk(x, 2)[0]", "t.kthvalue(x, 2)[0]", "t.norm(x)", "t.norm(x, 1)", "t.cumsum(x, 0)",
    ],
)  # fmt: skip
def test_ties_zeros_and_infinities_as_in_torch(call, values):
    torch = pytest.importorskip("torch")
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    theirs = eval(call, {"t": torch, "x": x})
    theirs.sum().backward()
    y, g = gradient(lambda x: eval(call, {"t": bl, "x": x}), values)
    np.testing.assert_allclose(y, theirs.detach().numpy(), equal_nan=True)
    if not any(why(call, values) for why in UNLIKE_TORCH):
        np.testing.assert_allclose(g, x.grad.numpy(), equal_nan=True)
