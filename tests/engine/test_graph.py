"""Recording, the reverse walk, accumulation, hooks, modes, and what every node knows about itself."""

import gc
import weakref

import numpy as np
import pytest

import backlit as bl
from backlit.errors import GradientError, OperationError


def leaf(value, dtype=bl.float64):
    return bl.tensor(value, dtype=dtype, requires_grad=True)


def test_gradients_accumulate_until_cleared():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_two_leaves_never_share_one_gradient_array():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + y).backward(gradient=bl.tensor([1.0, 1.0], dtype=bl.float64))
    x.grad.mul_(10.0)
    assert y.grad.tolist() == [1.0, 1.0]


def test_given_upstream_gradient_is_not_captured():
    x = leaf([1.0, 2.0])
    upstream = bl.tensor([1.0, 1.0], dtype=bl.float64)
    (x + 0.0).backward(gradient=upstream)
    upstream.mul_(5.0)
    assert x.grad.tolist() == [1.0, 1.0]


def test_chain_of_100_000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y
    gc.collect()


def test_graph_is_freed_after_backward_unless_kept():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(GradientError, match=r"mul.*released by an earlier backward.*retain_graph=True"):
        y.backward()


def test_saved_values_are_released_as_the_walk_passes():
    x = leaf(np.ones(10))
    hidden = (x * 2).exp()
    alive = weakref.ref(hidden._data)
    loss = hidden.sum()
    del hidden
    assert alive() is not None
    loss.backward()
    assert alive() is None


def test_dropping_the_loss_frees_the_graph_without_the_garbage_collector():
    gc.disable()
    try:
        x = leaf(np.ones(10))
        y = x.exp()
        node = weakref.ref(y.grad_fn)
        loss = (y * y).sum()
        del y, loss
        assert node() is None
    finally:
        gc.enable()


def test_gradients_of_gradients_to_any_order():
    x = leaf(1.5)
    y = x**5
    expected = [5 * 1.5**4, 20 * 1.5**3, 60 * 1.5**2, 120 * 1.5, 120.0]
    for value in expected:
        (y,) = bl.autograd.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(value, rel=1e-12)


def test_double_backward_through_saved_outputs():
    x = leaf(0.3)
    (first,) = bl.autograd.grad(x.tanh(), x, create_graph=True)
    first.backward()
    t = np.tanh(0.3)
    assert x.grad.item() == pytest.approx(-2 * t * (1 - t * t), rel=1e-12)


def test_grad_leaves_dot_grad_alone_and_reports_unused():
    x, y = leaf(2.0), leaf(3.0)
    assert bl.autograd.grad(x * x, x)[0].item() == 4.0
    assert x.grad is None
    with pytest.raises(GradientError, match="do not depend on input 1"):
        bl.autograd.grad(x * x, [x, y])
    assert bl.autograd.grad(x * x, [x, y], allow_unused=True)[1] is None
    assert bl.autograd.grad(x * x, [x, y], materialize_grads=True)[1].item() == 0.0


def test_grad_of_an_intermediate():
    x = leaf(2.0)
    h = x * 3
    assert bl.autograd.grad(h * h, h)[0].item() == 12.0


def test_backward_into_chosen_inputs_only():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3.0
    assert y.grad is None


def test_no_grad_and_enable_grad_nest_as_blocks_and_decorators():
    x = leaf(1.0)

    @bl.no_grad()
    def silent():
        with bl.enable_grad():
            inner = x * 2
        return x * 2, inner

    @bl.no_grad
    def bare():
        return x * 2

    outer, inner = silent()
    assert (outer.requires_grad, inner.requires_grad, bare().requires_grad) == (False, True, False)
    assert bl.is_grad_enabled()
    with bl.inference_mode():
        assert not (x * 2).requires_grad
    with bl.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_grad_mode_is_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), bl.no_grad():
        raise ZeroDivisionError
    assert bl.is_grad_enabled()


def test_hooks_on_leaves_and_intermediates():
    x = leaf(2.0)
    seen = []
    handle = x.register_hook(lambda g: g * 10)
    h = x * 3
    h.register_hook(lambda g: seen.append(g.item()))
    (h * h).backward()
    assert seen == [12.0]
    assert x.grad.item() == 360.0
    handle.remove()
    x.grad = None
    (x * 3).backward()
    assert x.grad.item() == 3.0


def test_retain_grad():
    x = leaf(2.0)
    h = x * 3
    h.retain_grad()
    (h * h).backward()
    assert h.grad.item() == 12.0
    assert h.retains_grad


def test_detach_shares_memory_and_stops_gradients():
    x = leaf([1.0, 2.0])
    d = x.detach()
    assert not d.requires_grad
    (x * d).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_every_node_knows_its_line_shape_and_inputs():
    x, w = leaf([[1.0, 2.0]]), leaf([[3.0], [4.0]])
    y = x @ w  # the line that must be found
    node = y.grad_fn
    assert node.name == "matmul"
    assert node.source.file == __file__
    assert "y = x @ w" in node.source.text
    assert (node.shape, node.dtype) == ((1, 1), bl.float64)
    assert node.inputs == (x, w)
    assert (y + 1).grad_fn.inputs[0] is node


def test_backward_needs_a_scalar_or_an_upstream_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match=r"shape \(2,\)"):
        (x * 2).backward()
    with pytest.raises(OperationError, match=r"\(3,\).*\(2,\)"):
        (x * 2).backward(gradient=bl.ones(3, dtype=bl.float64))
    with pytest.raises(GradientError, match="does not require gradients"):
        bl.tensor(1.0).backward()


def test_requires_grad_needs_floats():
    with pytest.raises(GradientError, match="int64"):
        bl.tensor([1, 2], requires_grad=True)


def test_gradient_dtype_follows_the_leaf_through_mixed_precision():
    w = bl.tensor([1.0, 2.0], dtype=bl.float32, requires_grad=True)
    x = bl.tensor([3.0, 4.0], dtype=bl.float64)
    y = w * x
    assert y.dtype == bl.float64
    y.sum().backward()
    assert w.grad.dtype == bl.float32
    assert w.grad.tolist() == [3.0, 4.0]


def test_error_names_operation_shapes_and_line():
    with pytest.raises(OperationError) as failure:
        bl.ones(2, 3) + bl.ones(4)  # the guilty line
    message = str(failure.value)
    assert "add" in message
    assert "(2, 3)" in message
    assert "(4,)" in message
    assert "the guilty line" in message


def test_walk_hands_joins_their_sum_once():
    x = leaf(2.0)
    h = x * 1.0
    calls = []
    h.register_hook(lambda g: calls.append(g.item()))
    (h * 3 + h * 4).backward()
    assert calls == [7.0]


def test_hooks_on_a_leaf_see_the_whole_gradient_once():
    x = leaf([1.0, 2.0, 3.0])
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: g * 2)
    (x * 3 + x * 4 + x[:2].sum()).sum().backward()
    assert seen == [[10.0, 10.0, 7.0]]
    assert x.grad.tolist() == [20.0, 20.0, 14.0]
    assert bl.autograd.grad((x * 5 + x).sum(), x)[0].tolist() == [12.0, 12.0, 12.0]
    assert len(seen) == 2
