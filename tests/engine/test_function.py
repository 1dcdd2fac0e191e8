"""Own nodes: Function and custom_vjp."""

import numpy as np
import pytest

import backlit as bl
from backlit.autograd import Function, custom_vjp, once_differentiable
from backlit.errors import GradientError, OverwrittenError


class Both(Function):
    """Product and sum."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b, a + b

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b + h, g * a + h


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def test_two_outputs():
    a, b = leaf(2.0), leaf(3.0)
    product, total = Both.apply(a, b)
    (product * total).backward()
    assert (a.grad.item(), b.grad.item()) == (21.0, 16.0)


def test_unused_output_counts_as_zero():
    a, b = leaf(2.0), leaf(3.0)
    Both.apply(a, b)[1].backward()
    assert (a.grad.item(), b.grad.item()) == (1.0, 1.0)


def test_second_derivative_through_a_saved_output():
    x = leaf(0.5)
    (first,) = bl.autograd.grad(Exp.apply(x), x, create_graph=True)
    (second,) = bl.autograd.grad(first, x)
    assert second.item() == pytest.approx(np.exp(0.5))


def test_node_has_the_users_name_and_line():
    node = Exp.apply(leaf(1.0)).grad_fn  # applied here
    assert node.name == "Exp"
    assert "applied here" in node.source.text


def test_needs_input_grad():
    seen = []

    class Spy(Function):
        @staticmethod
        def forward(ctx, a, n, b):
            seen.append(ctx.needs_input_grad)
            return a * b * n

        @staticmethod
        def backward(ctx, g):
            return g, None, None

    Spy.apply(leaf(1.0), 2, bl.tensor(1.0))
    assert seen == [(True, False, False)]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: (g, g), "returned 2 gradients for 1 inputs"),
        (lambda g: g.sum(), r"shape \(\).*shape \(2,\)"),
    ],
)
def test_wrong_backward_is_explained(returned, message):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return returned(g)

    with pytest.raises(GradientError, match=message):
        Wrong.apply(leaf([1.0, 2.0])).sum().backward()


def test_overwritten_saved_tensor_is_noticed():
    a, b = leaf(2.0), bl.tensor(3.0, dtype=bl.float64)
    product, _ = Both.apply(a, b)
    b.add_(1)
    with pytest.raises(OverwrittenError, match="Both"):
        product.backward()


def test_custom_vjp_with_constants():
    @custom_vjp
    def scaled(x, factor):
        return x * factor, lambda g: (g * factor, None)

    x = leaf([1.0, 2.0])
    scaled(x, 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert scaled(x, 3.0).grad_fn.name == "scaled"


def test_straight_through_estimator():
    @custom_vjp
    def hard(x):
        return (x > 0).double(), lambda g: g

    x = leaf([-1.0, 2.0])
    hard(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_once_differentiable_refuses_a_second_derivative():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2

    x = leaf(1.0)
    (first,) = bl.autograd.grad(Once.apply(x) * x, x, create_graph=False, retain_graph=True)
    assert first.item() == 4.0
    with pytest.raises(GradientError, match="once_differentiable"):
        bl.autograd.grad(Once.apply(x) * x, x, create_graph=True)


def test_calling_the_class_is_explained():
    with pytest.raises(GradientError, match=r"Exp\.apply"):
        Exp()


def test_identity_forward_gives_a_new_tensor():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = leaf(1.0)
    Reverse.apply(x).backward()
    assert x.grad.item() == -1.0
    assert x.is_leaf
