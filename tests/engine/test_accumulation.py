"""What ``backward`` does to a ``.grad`` that is there already: it adds to it in place, as PyTorch does."""

import numpy as np
import pytest

import backlit as bl
from backlit.errors import OperationError, OverwrittenError


def leaf(*values):
    return bl.tensor(values, requires_grad=True)


def test_a_held_gradient_sees_the_sum():
    w = leaf(1.0, 2.0)
    (w * 3).sum().backward()
    held, view, array = w.grad, w.grad[:1], w.grad.numpy()
    (w * w).sum().backward()
    assert w.grad is held and held.tolist() == [5.0, 7.0]
    assert view.tolist() == [5.0] and array.tolist() == [5.0, 7.0]


def test_a_gradient_that_was_set_is_added_to():
    w, mine = leaf(1.0, 2.0), bl.tensor([10.0, 20.0])
    w.grad = mine
    (w * 3).sum().backward(inputs=[w])
    assert w.grad is mine and mine.tolist() == [13.0, 23.0]


def test_a_recorded_walk_makes_a_new_one():
    w = leaf(1.0, 2.0)
    (w * 3).sum().backward()
    before = w.grad
    (w**3).sum().backward(create_graph=True)
    assert before.tolist() == [3.0, 3.0] and w.grad.tolist() == [6.0, 15.0] and w.grad.requires_grad


def test_recorded_gradients_are_nobody_elses():
    """What a walk hands to two leaves is one tensor, and a later walk writes to .grad."""
    x, y, seed = leaf(1.0, 2.0), leaf(3.0, 4.0), bl.ones(2)
    (x + y).backward(seed, create_graph=True)
    (x * 2).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist(), seed.tolist()) == ([3.0, 3.0], [1.0, 1.0], [1.0, 1.0])


def test_a_second_derivative_through_a_gradient_that_grew():
    w = leaf(2.0)
    (w**3).sum().backward(create_graph=True)
    slope = w.grad
    (5 * w).sum().backward()
    assert w.grad is slope and slope.tolist() == [17.0]
    (again,) = bl.autograd.grad(slope.sum(), w)
    assert again.tolist() == [12.0]


@pytest.mark.parametrize("first", [True, False])
def test_the_upstream_gradient_may_be_a_gradient(first):
    """PyTorch writes to it while it is still being handed on; here both leaves get what was given."""
    w, u = leaf(1.0, 2.0), leaf(3.0, 4.0)
    w.grad = bl.ones(2)
    loss = w * 2 + u * 3 if first else u * 3 + w * 2
    loss.backward(w.grad)
    assert (w.grad.tolist(), u.grad.tolist()) == ([3.0, 3.0], [3.0, 3.0])


def test_a_value_saved_from_a_gradient_is_seen_to_change():
    w, u = leaf(1.0, 2.0), leaf(3.0, 4.0)
    w.grad = bl.ones(2)
    product = (u * w.grad).sum()
    (w * 5).sum().backward()  # writes
    with pytest.raises(OverwrittenError, match=r"mul: .* overwritten in place at .*\(w \* 5\).sum\(\).backward\(\)"):
        product.backward()


def test_read_only_gradients_are_replaced():
    w = leaf(1.0, 2.0)
    w.grad = bl.tensor(1.0).expand(2)
    (w * 3).sum().backward()
    assert w.grad.tolist() == [4.0, 4.0]


def test_a_gradient_of_another_shape_is_refused():
    w = bl.tensor(np.ones((2, 3)), requires_grad=True)
    w.sum().backward()
    w.data = bl.ones(3, dtype=bl.float64)
    with pytest.raises(OperationError, match=r"\.grad has shape \(2, 3\).*new gradient \(3,\).*zero_grad"):
        w.sum().backward()


def test_limited_to_inputs_hooks_and_keepers_act_once():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward(inputs=[x])
    assert x.grad.tolist() == [6.0, 6.0]
    y = leaf(1.0, 2.0) * 2
    y.retain_grad()
    (y * 3).sum().backward(inputs=[y])
    assert y.grad.tolist() == [3.0, 3.0]


def test_zero_grad_keeps_the_tensor():
    layer = bl.nn.Linear(2, 1)
    layer(bl.ones(1, 2)).sum().backward()
    held = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is held and held.tolist() == [[0.0, 0.0]]
    (layer(bl.ones(1, 2)) ** 2).sum().backward(create_graph=True)
    held = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is held and not held.requires_grad and not held.any()
