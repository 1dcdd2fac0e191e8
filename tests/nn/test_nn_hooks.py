"""Forward and gradient hooks of modules."""

import copy

import numpy as np
import pytest

import backlit as bl
from backlit import nn


def square(n=3):
    return nn.Linear(n, n)


def test_forward_hooks_see_and_replace():
    net, seen = square(), []
    first = net.register_forward_pre_hook(lambda m, args: seen.append(("pre", m is net, len(args))))
    second = net.register_forward_hook(lambda m, args, out: out * 2)
    x = bl.ones(1, 3)
    doubled = net(x)
    second.remove()
    assert np.allclose(doubled.detach().numpy(), 2 * net(x).detach().numpy())
    first.remove()
    net(x)
    assert seen == [("pre", True, 1)] * 2
    assert net._hooks is None  # back on the fast path


def test_pre_hooks_change_arguments():
    class Two(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    net = Two()
    with net.register_forward_pre_hook(lambda m, args: args[0] + 1):
        assert net(bl.ones(1)).item() == 2.0
    with net.register_forward_pre_hook(lambda m, a, k: (a, {"scale": 5.0}), with_kwargs=True):
        assert net(bl.ones(1), scale=2.0).item() == 5.0
    with (
        net.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True),
        pytest.raises(TypeError, match="pair"),
    ):
        net(bl.ones(1))


def test_order_prepend_and_always_call():
    class Fails(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError

    seen = []
    net = nn.Identity()
    net.register_forward_hook(lambda *a: seen.append("first"))
    net.register_forward_hook(lambda *a: seen.append("zeroth"), prepend=True)
    net.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    net(input=1)
    assert seen == ["zeroth", "first", {"input": 1}]
    fails = Fails()
    fails.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    fails.register_forward_hook(lambda m, args, out: seen.append("never"))
    with pytest.raises(ZeroDivisionError):
        fails(1)
    assert seen[-1] is None


def test_backward_hook_sees_both_sides_and_changes_nothing():
    net, seen = square(), []
    x = bl.rand(2, 3, requires_grad=True)
    net(x).sum().backward()
    expected = x.grad.numpy().copy(), net.weight.grad.numpy().copy()
    x.grad = None
    net.zero_grad()
    net.register_full_backward_hook(lambda m, gin, gout: seen.append((gin, gout)))
    net(x).sum().backward()
    ((grad_input,), (grad_output,)) = seen[0]
    assert np.array_equal(grad_output.numpy(), np.ones((2, 3)))
    assert np.array_equal(grad_input.numpy(), expected[0])
    assert np.array_equal(x.grad.numpy(), expected[0])
    assert np.array_equal(net.weight.grad.numpy(), expected[1])


def test_backward_hooks_replace():
    net = square()
    x = bl.rand(2, 3, requires_grad=True)
    net.register_full_backward_pre_hook(lambda m, gout: (gout[0] * 10,))
    net.register_full_backward_hook(lambda m, gin, gout: (gin[0] * 0 + gout[0].sum(),))
    net(x).sum().backward()
    assert np.array_equal(x.grad.numpy(), np.full((2, 3), 60.0))
    assert np.allclose(net.bias.grad.numpy(), 20.0)


def test_backward_hook_of_several_inputs_and_outputs_runs_once():
    class Mixed(nn.Module):
        def forward(self, x, y, flag):
            return x * y, x + 1, "kept"

    net, seen = Mixed(), []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append((gin, gout)))
    x, y = bl.tensor(2.0, requires_grad=True), bl.tensor(3.0, requires_grad=True)
    product, _, note = net(x, y, True)
    assert note == "kept"
    product.backward()
    (grad_input, grad_output) = seen[0]
    assert len(seen) == 1
    assert [g if g is None else g.item() for g in grad_input] == [3.0, 2.0, None]
    assert [g if g is None else g.item() for g in grad_output] == [1.0, None, None]
    assert (x.grad.item(), y.grad.item()) == (3.0, 2.0)


def test_backward_hook_of_inputs_without_gradients():
    net, seen = square(), []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append(gin))
    net(bl.ones(1, 3)).sum().backward()
    assert seen == [(None,)]


def test_backward_hooks_under_second_derivatives():
    class Cube(nn.Module):
        def forward(self, x):
            return x**3

    net, seen = Cube(), []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append(gin[0].item()))
    x = bl.tensor(2.0, requires_grad=True)
    (first,) = bl.autograd.grad(net(x), x, create_graph=True)
    (second,) = bl.autograd.grad(first, x)
    assert (first.item(), second.item()) == (12.0, 12.0)
    assert seen[0] == 12.0


def test_backward_hooks_twice_over_one_graph():
    net, seen = square(), []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append(gin[0].numpy()))
    x = bl.rand(2, 3, requires_grad=True)
    loss = net(x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert len(seen) == 2
    assert np.array_equal(seen[0], seen[1])


def test_wrong_number_of_replacements():
    net = square()
    net.register_full_backward_hook(lambda m, gin, gout: (gin[0], gin[0]))
    with pytest.raises(RuntimeError, match="returned 2 gradients where there are 1"):
        net(bl.rand(1, 3, requires_grad=True)).sum().backward()


def test_no_gates_without_recording():
    net = square()
    net.register_full_backward_hook(lambda m, gin, gout: None)
    with bl.no_grad():
        assert net(bl.ones(1, 3)).grad_fn is None


def test_hooks_are_copied_with_the_module():
    net, seen = square(), []
    net.register_forward_hook(lambda m, args, out: seen.append(m))
    twin = copy.deepcopy(net)
    twin(bl.ones(1, 3))
    assert seen == [twin]


def test_forward_mode_passes_gates():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = bl.rand(2, 3, dtype=bl.float64)
    plain = bl.func.jvp(net, (x,), (x,))[1]
    for module in net:
        module.register_full_backward_hook(lambda m, gin, gout: None)
    assert np.allclose(bl.func.jvp(net, (x,), (x,))[1].detach().numpy(), plain.detach().numpy())
