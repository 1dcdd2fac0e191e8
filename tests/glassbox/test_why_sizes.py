"""``bl.why`` on gradients that are there: zero, tiny, huge, not finite, changed, or simply what they are."""

import inspect
import json

import numpy as np
import pytest

import backlit as bl
from backlit.nn import functional as F


def leaf(*values, dtype=None):
    return bl.tensor(list(values) if values else 2.0, dtype=dtype, requires_grad=True)


def program(function):
    """A program that returns (verdict, gradient, cause); the line it blames is the one marked ``# HERE``."""

    def test():
        verdict, gradient, cause = function()
        lines, start = inspect.getsourcelines(function)
        here = [start + i for i, line in enumerate(lines) if "# HERE" in line]
        assert verdict.cause == cause, str(verdict)
        assert verdict.gradient.startswith(gradient), str(verdict)
        assert verdict.source is not None and [verdict.source.line] == here, str(verdict)
        assert verdict.source.file == __file__
        assert json.loads(json.dumps(verdict.to_dict()))["cause"] == cause
        assert cause.replace("_", " ") in str(verdict)

    test.__name__ = test.__qualname__ = function.__name__
    return test


# -- exactly zero ----------------------------------------------------------------------------------------------


@program
def test_dead_relu():
    x = bl.tensor([[1.0, 2.0], [3.0, 4.0], [0.5, 0.5]])
    w, b = leaf(1.0, -1.0), leaf(-9.0, -9.0)
    h = F.relu(x * w + b)  # HERE
    loss = (h * h + h).sum()
    loss.backward()
    verdict = bl.why(w, loss)
    assert any("units closed in every row: 2 of 2 (0, 1)" in fact for fact in verdict.evidence)
    assert any("rows in which every unit is closed: 3 of 3 (0, 1, 2)" in fact for fact in verdict.evidence)
    return verdict, "zero", "dead_relu"


@program
def test_dead_relu_before_backward():
    x = bl.tensor([[1.0, 2.0], [3.0, 4.0]])
    w, b = leaf(1.0, -1.0), leaf(-9.0, -9.0)
    loss = F.relu(x * w + b).sum()  # HERE
    verdict = bl.why(w, loss)
    assert w.grad is None and any("has not run yet" in fact for fact in verdict.evidence)
    return verdict, "zero", "dead_relu"


@program
def test_mostly_dead_relu():
    bl.random.manual_seed(0)
    x, w = bl.randn(8, 4), bl.nn.Parameter(bl.randn(4, 10))
    b = bl.tensor([-50.0] * 8 + [0.0] * 2)
    h = F.relu(x @ w + b)  # HERE
    loss = h.sum()
    loss.backward()
    verdict = bl.why(w, loss)
    assert any("units closed in every row: 8 of 10" in fact for fact in verdict.evidence), str(verdict)
    return verdict, "zero in 8", "dead_relu"


@program
def test_clamp():
    w = leaf(5.0, -7.0)
    loss = (w * 2).clamp(-1, 1).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "clamped"


@program
def test_hardtanh():
    w = leaf(5.0, -7.0)
    loss = F.hardtanh(w * 2).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "clamped"


@program
def test_where():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = bl.where(bl.tensor([False, False]), w, v).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "masked"


@program
def test_masked_fill():
    w = leaf(1.0, 2.0)
    loss = (w * 3).masked_fill(bl.tensor([True, True]), 0.0).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "masked"


@program
def test_dropout():
    w = leaf(1.0, 2.0)
    loss = F.dropout(w * 3, p=1.0, training=True).sum()  # HERE
    verdict = bl.why(w, loss)
    return verdict, "zero", "masked"


@program
def test_max():
    w, v = leaf(1.0, 2.0), leaf(30.0, 4.0)
    loss = bl.stack([w * 2, v]).amax()  # HERE
    loss.backward()
    return bl.why(w, loss), "zero", "not_selected"


@program
def test_maximum():
    w, v = leaf(1.0, 2.0), leaf(30.0, 40.0)
    loss = bl.maximum(w * 2, v).sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "zero", "not_selected"


@program
def test_round():
    w = leaf(1.2, 2.3)
    loss = (w * 2).round().sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "step_function"


@program
def test_sign():
    w = leaf(1.2, 2.3)
    loss = bl.sign(w).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "step_function"


@program
def test_times_zero():
    w, mask = leaf(1.0, 2.0), bl.zeros(2)
    h = (w * 2).exp()
    loss = (h * mask).sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "zero", "multiplied_by_zero"


@program
def test_head_initialised_to_zero():
    body, head = bl.nn.Linear(3, 4), bl.nn.Linear(4, 1)
    bl.nn.init.zeros_(head.weight)
    h = body(bl.ones(5, 3))
    loss = head(h).sum()  # HERE
    loss.backward()
    return bl.why(body.weight, loss), "zero", "multiplied_by_zero"


@program
def test_saturated_to_zero():
    w = leaf(100.0, 200.0)
    loss = bl.sigmoid(w).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "saturated"


@program
def test_saturated_softmax():
    w = leaf(200.0, 1.0)
    loss = (bl.softmax(w, 0) * bl.tensor([1.0, 3.0])).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "saturated"


@program
def test_cross_entropy_at_zero():
    w = leaf(500.0, 0.0)
    loss = F.cross_entropy(w.reshape(1, 2), bl.tensor([0]))  # HERE
    loss.backward()
    return bl.why(w), "zero", "loss_at_minimum"


@program
def test_mse_at_zero():
    w = leaf(1.0, 2.0)
    loss = F.mse_loss(w * 1, bl.tensor([1.0, 2.0]))  # HERE
    loss.backward()
    return bl.why(w), "zero", "loss_at_minimum"


@program
def test_flat_point():
    w = leaf(0.0, 0.0)
    loss = (w**2).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "flat_point"


@program
def test_own_function_that_returns_zeros():
    @bl.autograd.custom_vjp
    def stopped(x):
        return x * 2, lambda upstream: upstream * 0

    w = leaf(1.0, 2.0)
    loss = stopped(w).sum()  # HERE
    loss.backward(retain_graph=True)
    return bl.why(w), "zero", "own_function"


@program
def test_paths_that_cancel():
    w = leaf(1.0, 2.0)
    loss = (w.exp() - w.exp()).sum()  # HERE
    loss.backward()
    return bl.why(w), "zero", "cancelled"


@program
def test_rows_that_cancel():
    x, b = bl.tensor([[1.0], [-1.0]]), leaf(0.0)
    loss = (x * (b + bl.zeros(2, 1))).sum()  # HERE
    loss.backward()
    return bl.why(b), "zero", "cancelled"


@program
def test_nothing_selected():
    w, mask = leaf(1.0, 2.0), bl.tensor([False, False])
    loss = (w * 2)[mask].sum()  # HERE
    loss.backward()
    return bl.why(w, loss), "zero", "empty"


@program
def test_underflow():
    w = leaf(1.0, dtype=bl.float32)
    h = w * 1e-30
    h = h * 1e-30  # HERE
    loss = (h * 1e-20).sum()
    loss.backward()
    return bl.why(w), "zero", "underflow"


# -- tiny ------------------------------------------------------------------------------------------------------


@program
def test_vanishing_through_ten_sigmoids():
    x = leaf(0.5)
    h = x
    for _ in range(10):
        h = bl.sigmoid(h)  # HERE
    loss = h.sum()
    loss.backward()
    verdict = bl.why(x, loss)
    factors = [link.factor for link in verdict.path if link.op == "sigmoid"]
    assert len(factors) == 10 and all(0.2 < factor < 0.25 for factor in factors)
    assert np.prod([link.factor for link in verdict.path]) == pytest.approx(x.grad.item(), rel=1e-5)
    return verdict, "tiny", "vanishing"


@program
def test_saturated_tanh():
    w = leaf(9.0, -8.0)
    h = bl.tanh(w * 1.1)  # HERE
    loss = (h * 2).sum()
    loss.backward()
    return bl.why(w), "tiny", "saturated"


@program
def test_small_factor():
    w = leaf(1.0, 2.0)
    h = w * 3
    loss = (h * 1e-7).sum()  # HERE
    loss.backward()
    return bl.why(w), "tiny", "small_factor"


@program
def test_averaged():
    w = bl.ones(400_000, requires_grad=True)
    loss = (w * 2).mean()  # HERE
    loss.backward()
    return bl.why(w), "tiny", "averaged"


@program
def test_right_already():
    w = leaf(16.0, 0.0)
    loss = F.cross_entropy(w.reshape(1, 2), bl.tensor([0]))  # HERE
    loss.backward()
    return bl.why(w), "tiny", "loss_at_minimum"


# -- huge ------------------------------------------------------------------------------------------------------


@program
def test_exploding():
    h = x = leaf(0.1)
    for _ in range(8):
        h = h * 4  # HERE
    loss = h.sum()
    loss.backward()
    verdict = bl.why(x)
    assert [round(link.factor) for link in verdict.path if link.op == "mul"] == [4] * 8
    return verdict, "huge", "exploding"


@program
def test_large_factor():
    x = leaf(1e-6)
    loss = bl.log(x * 2).sum()  # HERE
    loss.backward()
    return bl.why(x), "huge", "large_factor"


@program
def test_accumulated():
    w = leaf(1.0, 2.0)
    for _ in range(1500):
        loss = (w * 2).sum()
        loss.backward()  # HERE
    return bl.why(w, loss), "huge", "accumulated"


# -- not finite ------------------------------------------------------------------------------------------------


@program
def test_log_of_zero():
    w = leaf(0.0, 1.0)
    h = w * 2
    loss = (h.log() * 3).sum()  # HERE
    loss.backward()
    verdict = bl.why(w, loss)
    assert "log of zero" in verdict.sentence
    return verdict, "not finite", "poisoned"


@program
def test_infinite_slope():
    w = leaf(0.0, 4.0)
    loss = (w * 1).sqrt().sum()  # HERE
    loss.backward()
    verdict = bl.why(w)
    assert "infinite slope of sqrt" in verdict.sentence
    return verdict, "not finite", "poisoned"


@program
def test_nan_in_the_data():
    x, w = bl.tensor([1.0, float("nan")]), leaf(1.0, 2.0)
    loss = (x * w).exp().sum()  # HERE
    loss.backward()
    verdict = bl.why(w)
    assert "bad input data" in verdict.sentence
    return verdict, "not finite", "poisoned"


# -- .grad is not what the loss gives --------------------------------------------------------------------------


@program
def test_clipped():
    w = leaf(1.0, 2.0)
    loss = (w * 300).sum()
    loss.backward()
    bl.nn.utils.clip_grad_norm_([w], 1.0)  # HERE
    return bl.why(w, loss), "ordinary", "edited"


@program
def test_zeroed_in_place():
    w = leaf(1.0, 2.0)
    loss = (w * 300).sum()
    loss.backward()
    w.grad.zero_()  # HERE
    return bl.why(w, loss), "zero", "edited"


@program
def test_zero_grad_to_zeros():
    w = leaf(1.0, 2.0)
    optimizer = bl.optim.SGD([w], lr=0.1)
    loss = (w * 300).sum()
    loss.backward()
    optimizer.zero_grad(set_to_none=False)  # HERE
    return bl.why(w, loss), "zero", "edited"


@program
def test_assigned():
    w = leaf(1.0, 2.0)
    loss = (w * 300).sum()
    loss.backward()
    w.grad = bl.zeros(2)  # HERE
    return bl.why(w, loss), "zero", "assigned"


@program
def test_hook_on_a_leaf():
    w = leaf(1.0, 2.0)
    w.register_hook(lambda g: g * 0)  # HERE
    loss = (w * 300).sum()
    loss.backward()
    return bl.why(w, loss), "zero", "hook"


@program
def test_hook_on_the_way():
    w = leaf(1.0, 2.0)
    h = w * 3

    def halve(gradient):  # HERE
        return gradient / 2

    h.register_hook(halve)
    loss = h.sum()
    loss.backward()
    return bl.why(w, loss), "ordinary", "hook"


# -- simply what it is -----------------------------------------------------------------------------------------


@program
def test_chain_rule():
    w = leaf(3.0)
    h = w * 4  # HERE
    loss = (h * 5).sum()
    loss.backward()
    verdict = bl.why(w)
    assert [(link.op, link.factor) for link in verdict.path] == [("sum", 1.0), ("mul", 5.0), ("mul", 4.0)]
    assert "1 · 5 · 4 = 20" in str(verdict)
    return verdict, "ordinary", "chain_rule"


def test_the_loss_itself():
    w = leaf(3.0)
    w.backward()
    assert bl.why(w, w).cause == "chain_rule"


def test_a_gradient_whose_graph_is_gone():
    w = leaf(3.0)
    (w * 2).backward()
    verdict = bl.why(w)
    assert verdict.cause == "graph_gone" and verdict.gradient.startswith("ordinary")


def test_names_the_module():
    net = bl.nn.Sequential(bl.nn.Linear(2, 2), bl.nn.ReLU())
    loss = net(bl.ones(1, 2)).sum()
    loss.backward()
    assert [link.module for link in bl.why(net[0].weight, loss).path] == ["", "net.1", "net.0"]


def test_prints():
    w = leaf(100.0, 200.0)
    loss = bl.sigmoid(w).sum()
    loss.backward()
    text = str(bl.why(w, loss))
    assert text.splitlines()[0] == "The gradient of w is zero: saturated."
    assert "  fix:       " in text and repr(bl.why(w, loss)) == text


@program
def test_bias_in_front_of_batch_norm():
    bl.random.manual_seed(0)
    x = bl.randn(64, 4)
    first, norm, last = bl.nn.Linear(4, 8), bl.nn.BatchNorm1d(8), bl.nn.Linear(8, 1)
    h = first(x)  # HERE
    loss = (last(norm(h)) ** 2).mean()
    loss.backward()
    return bl.why(first.bias, loss), "tiny", "cancelled"


@program
def test_sum_of_a_softmax():
    w = leaf(0.3, 0.5, 0.1)
    h = bl.softmax(w * 2, 0)  # HERE
    loss = h.sum()
    loss.backward()
    return bl.why(w, loss), "tiny" if w.grad.any() else "zero", "invariant"


@program
def test_attention_with_one_key():
    bl.random.manual_seed(0)
    q, k, v = (bl.randn(1, 2, 4, 8, requires_grad=True) for _ in range(3))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # HERE
    loss = out[:, :, 0].sum()
    loss.backward()
    return bl.why(q, loss), "zero", "saturated"


@program
def test_rows_that_were_not_looked_up():
    table = bl.nn.Embedding(100, 4)
    loss = table(bl.tensor([1, 2, 3])).sum()  # HERE
    loss.backward()
    return bl.why(table.weight, loss), "zero in 97%", "not_selected"
