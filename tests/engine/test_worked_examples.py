"""Lecture examples, number for number: every value, local gradient and product that the page shows."""

import math

import numpy as np
import pytest

import backlit as bl
from backlit.graph import WalkObserver, mode


class Trace(WalkObserver):
    """Upstream and downstream gradients of every node, by operation name in the order of the walk."""

    def __init__(self):
        self.seen = []

    def enter(self, node, upstream):
        self.upstream = upstream

    def leave(self, node, upstream, downstream):
        self.seen.append(
            (node.name, float(np.sum(upstream)), [None if d is None else float(np.sum(d)) for d in downstream])
        )


def traced(loss):
    trace = Trace()
    mode.walkers = (trace,)
    try:
        loss.backward()
    finally:
        mode.walkers = ()
    return trace.seen


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def test_sum_gate():
    x, y = leaf(-2.0), leaf(5.0)
    z = x + y
    z.backward()
    assert (z.item(), x.grad.item(), y.grad.item()) == (3.0, 1.0, 1.0)


def test_sum_then_product():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    assert (q.item(), f.item()) == (3.0, -12.0)
    assert traced(f) == [("mul", 1.0, [-4.0, 3.0]), ("add", -4.0, [-4.0, -4.0])]
    assert (x.grad.item(), y.grad.item(), z.grad.item()) == (-4.0, -4.0, 3.0)


def test_polynomials():
    x = leaf(1.0)
    (x**2 + 2 * x).backward()
    assert x.grad.item() == 4.0
    for at in (-3.0, -2.0, 0.5):
        x = leaf(at)
        ((x + 2) ** 2).backward()
        assert x.grad.item() == 2 * (at + 2)


def test_linear_regression_on_one_point():
    x, y, w = 1.0, 2.0, leaf(1.0)
    prediction = w * x
    s = prediction - y
    loss = s**2
    assert (prediction.item(), s.item(), loss.item()) == (1.0, -1.0, 1.0)
    # ∂loss/∂s = −2, then ∂s/∂ŷ = 1 and ∂ŷ/∂w = 1 leave it unchanged
    assert traced(loss) == [("square", 1.0, [-2.0]), ("sub", -2.0, [-2.0, None]), ("mul", -2.0, [-2.0, None])]
    assert w.grad.item() == -2.0


def test_sigmoid_neuron_with_every_intermediate():
    w0, x0, w1, x1, w2 = (leaf(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    a, b = w0 * x0, w1 * x1
    dot = a + b
    z = dot + w2
    m = -z
    e = m.exp()
    d = e + 1
    f = 1 / d
    values = [t.item() for t in (a, b, dot, z, m, e, d, f)]
    np.testing.assert_allclose(values, [-2, 6, 4, 1, -1, 0.36787944, 1.36787944, 0.73105858], rtol=1e-7)
    steps = traced(f)
    upstream = {name: up for name, up, _ in steps}
    np.testing.assert_allclose(steps[0][2][-1], -0.53444665, rtol=1e-7)  # 1/x: −1/1.37²
    np.testing.assert_allclose(upstream["exp"], -0.53444665, rtol=1e-7)
    np.testing.assert_allclose(upstream["neg"], -0.19661193, rtol=1e-7)
    gradients = [t.grad.item() for t in (w0, x0, w1, x1, w2)]
    np.testing.assert_allclose(np.round(gradients, 2), [-0.20, 0.39, -0.39, -0.59, 0.20])
    assert round(f.item(), 2) == 0.73


def test_sigmoid_gate_in_one_step():
    z = leaf(1.0)
    s = bl.sigmoid(z)
    s.backward()
    assert z.grad.item() == pytest.approx(s.item() * (1 - s.item()), rel=1e-15)
    assert round(z.grad.item(), 2) == 0.20


def test_exponential_of_quotient_against_finite_differences():
    values = [0.5, -1.5, 2.0, 0.7, -1.2]

    def f(w0, x0, w1, x1, w2):
        return bl.exp(w0 * x0 / (w1 * x1 * w2))

    leaves = [leaf(v) for v in values]
    f(*leaves).backward()
    for i, parameter in enumerate(leaves):
        h = 1e-6
        up, down = ([v + (h if i == j else 0) * sign for j, v in enumerate(values)] for sign in (1, -1))
        numeric = (f(*map(leaf, up)).item() - f(*map(leaf, down)).item()) / (2 * h)
        assert parameter.grad.item() == pytest.approx(numeric, rel=1e-8)


def test_single_neuron_all_six_factors():
    x, w, b, target = 1.5, leaf(0.8), leaf(-0.4), 1.0
    z = w * x + b
    y = bl.sigmoid(z)
    s = y - target
    loss = s**2
    loss.backward()
    p = 1 / (1 + math.exp(-(0.8 * 1.5 - 0.4)))
    dloss_ds, ds_dy, dy_dz, dz_dw, dz_db, dz_dx = 2 * (p - target), 1.0, p * (1 - p), x, 1.0, 0.8
    assert w.grad.item() == pytest.approx(dloss_ds * ds_dy * dy_dz * dz_dw, rel=1e-14)
    assert b.grad.item() == pytest.approx(dloss_ds * ds_dy * dy_dz * dz_db, rel=1e-14)
    x = leaf(1.5)
    ((bl.sigmoid(0.8 * x - 0.4) - target) ** 2).backward()
    assert x.grad.item() == pytest.approx(dloss_ds * ds_dy * dy_dz * dz_dx, rel=1e-14)


def test_two_two_one_network_by_engine_and_by_delta_recursion():
    def sigma(z):
        return 1 / (1 + np.exp(-z))

    x = np.array([0.05, 0.10])
    w1, b1 = np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])
    w2, b2 = np.array([[0.40, 0.45]]), np.array([0.60])
    target = np.array([0.01])
    z1 = w1 @ x + b1
    a1 = sigma(z1)
    z2 = w2 @ a1 + b2
    a2 = sigma(z2)
    delta2 = (a2 - target) * a2 * (1 - a2)
    delta1 = (w2.T @ delta2) * a1 * (1 - a1)
    by_hand = [np.outer(delta1, x), delta1, np.outer(delta2, a1), delta2]

    parameters = [leaf(v) for v in (w1, b1, w2, b2)]
    t1, c1, t2, c2 = parameters
    zz1 = t1 @ bl.tensor(x) + c1
    aa1 = bl.sigmoid(zz1)
    zz2 = t2 @ aa1 + c2
    aa2 = bl.sigmoid(zz2)
    for tensor in (zz1, aa1, zz2, aa2):
        tensor.retain_grad()
    (0.5 * ((aa2 - bl.tensor(target)) ** 2).sum()).backward()
    for ours, theirs in zip((zz1, aa1, zz2, aa2), (z1, a1, z2, a2), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-14)
    np.testing.assert_allclose(zz2.grad.numpy(), delta2, rtol=1e-13)
    np.testing.assert_allclose(zz1.grad.numpy(), delta1, rtol=1e-13)
    for parameter, gradient in zip(parameters, by_hand, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-13)


def test_gates():
    x, y = leaf(3.0), leaf(-4.0)
    (2 * (x + y)).backward()  # add distributes
    assert (x.grad.item(), y.grad.item()) == (2.0, 2.0)
    x = leaf(3.0)
    (5 * x + 7 * x).backward()  # copy adds
    assert x.grad.item() == 12.0
    x, y = leaf(3.0), leaf(-4.0)
    (2 * (x * y)).backward()  # multiply swaps
    assert (x.grad.item(), y.grad.item()) == (-8.0, 6.0)
    x, y = leaf(3.0), leaf(-4.0)
    (2 * bl.maximum(x, y)).backward()  # max routes
    assert (x.grad.item(), y.grad.item()) == (2.0, 0.0)


def test_relu_on_a_vector_never_builds_its_jacobian():
    n = 1_000_000  # a dense Jacobian would take 8 TB
    x = bl.tensor(np.linspace(-1, 1, n), requires_grad=True)
    bl.relu(x).backward(gradient=bl.tensor(np.full(n, 3.0)))
    np.testing.assert_array_equal(x.grad.numpy(), np.where(np.linspace(-1, 1, n) > 0, 3.0, 0.0))
    small = bl.tensor([1.0, -2.0, 3.0, -1.0], requires_grad=True)
    bl.relu(small).backward(gradient=bl.tensor([4.0, -1.0, 5.0, 9.0]))
    assert small.grad.tolist() == [4.0, 0.0, 5.0, 0.0]


def test_matrix_product():
    rng = np.random.default_rng(0)
    x, w, dy = (rng.normal(size=s) for s in ((2, 3), (3, 4), (2, 4)))
    tx, tw = leaf(x), leaf(w)
    (tx @ tw).backward(gradient=bl.tensor(dy))
    np.testing.assert_allclose(tx.grad.numpy(), dy @ w.T, rtol=1e-14)
    np.testing.assert_allclose(tw.grad.numpy(), x.T @ dy, rtol=1e-14)
