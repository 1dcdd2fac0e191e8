"""Functions of functions, over containers and in any nesting."""

from typing import NamedTuple

import numpy as np
import pytest

import backlit as bl
from backlit.errors import GradientError, OperationError
from backlit.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp

A = np.array([[2.0, -1.0, 0.5], [0.3, 1.5, -2.0]])


def t(value):
    return bl.tensor(value, dtype=bl.float64)


def f(x):
    return bl.tanh(t(A) @ x) * x[:2]


def jacobian_of_f(x):
    z = np.tanh(A @ x)
    return (1 - z**2)[:, None] * A * x[:2, None] + np.hstack([np.diag(z), np.zeros((2, 1))])


X = np.array([0.4, -0.7, 1.1])


def test_grad_value_and_grad():
    assert grad(lambda x: x**2 + 2 * x)(t(1.0)).item() == 4.0
    assert [v.item() for v in value_and_grad(lambda x: x**2)(t(3.0))] == [9.0, 6.0]
    assert [v.item() for v in grad_and_value(lambda x: x**2)(t(3.0))] == [6.0, 9.0]


def test_argnums_and_aux():
    gx, gz = grad(lambda x, y, z: x * y * z, argnums=(0, 2))(t(2.0), t(3.0), t(4.0))
    assert (gx.item(), gz.item()) == (12.0, 6.0)
    gradient, aux = grad(lambda x: (x * x, "note"), has_aux=True)(t(3.0))
    assert (gradient.item(), aux) == (6.0, "note")


class Layer(NamedTuple):
    weight: object
    bias: object


def test_nested_containers_keep_their_structure():
    params = {"layers": [Layer(t([1.0, 2.0]), t(0.5))], "scale": (t(3.0),)}

    def loss(p):
        layer = p["layers"][0]
        return (layer.weight * 2).sum() * p["scale"][0] + layer.bias

    g = grad(loss)(params)
    assert isinstance(g["layers"][0], Layer)
    assert g["layers"][0].weight.tolist() == [6.0, 6.0]
    assert g["layers"][0].bias.item() == 1.0
    assert g["scale"][0].item() == 6.0


def test_result_is_plain_unless_the_caller_differentiates():
    assert not grad(lambda x: x**3)(t(2.0)).requires_grad
    x = t(2.0).requires_grad_()
    g = grad(lambda y: y**3)(x)
    g.backward()
    assert x.grad.item() == 12.0


def test_captured_parameters_stay_differentiable():
    w = t(3.0).requires_grad_()
    g = grad(lambda x: w * x**2)(t(2.0))
    g.backward()
    assert w.grad.item() == 4.0


def test_closure_over_the_argument_itself_is_a_constant():
    x = t(3.0)
    assert grad(lambda y: y * x)(x).item() == 3.0
    assert jvp(lambda y: y * x, (x,), (t(1.0),))[1].item() == 3.0


def test_works_under_no_grad():
    with bl.no_grad():
        assert grad(lambda x: x * x)(t(2.0)).item() == 4.0


def test_vjp_jvp_and_linearize_agree_with_the_matrix():
    jacobian = jacobian_of_f(X)
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=2), rng.normal(size=3)
    y, pull = vjp(f, t(X))
    np.testing.assert_allclose(y.numpy(), np.tanh(A @ X) * X[:2])
    np.testing.assert_allclose(pull(t(u))[0].numpy(), jacobian.T @ u)
    np.testing.assert_allclose(pull(t(2 * u))[0].numpy(), jacobian.T @ (2 * u))
    np.testing.assert_allclose(jvp(f, (t(X),), (t(v),))[1].numpy(), jacobian @ v)
    y, push = linearize(f, t(X))
    for k in (1.0, -2.0):
        np.testing.assert_allclose(push(t(k * v)).numpy(), jacobian @ (k * v))


def test_linearize_runs_the_function_once():
    calls = []

    def counted(x):
        calls.append(1)
        return x.sin()

    _, push = linearize(counted, t(0.0))
    push(t(1.0))
    push(t(2.0))
    assert len(calls) == 1


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians(jacobian):
    np.testing.assert_allclose(jacobian(f)(t(X)).numpy(), jacobian_of_f(X), rtol=1e-12)
    np.testing.assert_allclose(
        jacobian(lambda x: x[None] * x[:, None])(t(X)).numpy(),
        np.eye(3)[None] * X[:, None, None] + X[None, :, None] * np.eye(3)[:, None],
        rtol=1e-12,
    )


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians_of_containers(jacobian):
    out = jacobian(lambda p: {"s": p["a"] * p["b"], "d": p["a"] - p["b"]})({"a": t([1.0, 2.0]), "b": t(3.0)})
    np.testing.assert_allclose(out["s"]["a"].numpy(), 3 * np.eye(2))
    np.testing.assert_allclose(out["s"]["b"].numpy(), [1.0, 2.0])
    np.testing.assert_allclose(out["d"]["b"].numpy(), [-1.0, -1.0])


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


HESSIAN = [[2 - 400 * (2.0 - 3 * 1.5**2), -400 * 1.5], [-400 * 1.5, 200.0]]


@pytest.mark.parametrize(
    "second",
    [
        hessian,
        lambda f: jacrev(jacrev(f)),
        lambda f: jacfwd(jacfwd(f)),
        lambda f: jacrev(jacfwd(f)),
        lambda f: jacfwd(grad(f)),
        lambda f: jacrev(grad(f)),
    ],
    ids=["hessian", "rev-rev", "fwd-fwd", "rev-fwd", "fwd-grad", "rev-grad"],
)
def test_second_derivatives_in_every_nesting(second):
    np.testing.assert_allclose(second(rosenbrock)(t([1.5, 2.0])).numpy(), HESSIAN, rtol=1e-10)


def test_perturbations_are_not_confused():
    # d/dx [x · d/dy (x + y)] = 1; a confused forward mode answers 2
    def outer(x):
        return x * jvp(lambda y: x + y, (t(1.0),), (t(1.0),))[1]

    assert jvp(outer, (t(1.0),), (t(1.0),))[1].item() == 1.0


def test_third_derivative_by_mixed_modes():
    def third(f, x):
        return jvp(grad(grad(f)), (x,), (t(1.0),))[1]

    assert third(lambda x: x**4, t(2.0)).item() == pytest.approx(48.0)
    assert third(lambda x: x.exp(), t(0.5)).item() == pytest.approx(np.exp(0.5))


def test_forward_mode_through_in_place_writes_and_views():
    def g(x):
        y = x * 2
        y[0] = x[1] ** 2
        y.T.mul_(x)
        return y

    _, tangent = jvp(g, (t([3.0, 4.0]),), (t([1.0, 10.0]),))
    # y = [x1² x0, 2 x1²]
    np.testing.assert_allclose(tangent.numpy(), [4.0**2 * 1 + 2 * 4 * 3 * 10, 4 * 4.0 * 10])
    np.testing.assert_allclose(jacrev(g)(t([3.0, 4.0])).numpy(), jacfwd(g)(t([3.0, 4.0])).numpy())


def test_errors_say_what_is_expected():
    with pytest.raises(GradientError, match="one number"):
        grad(lambda x: x * 2)(t([1.0, 2.0]))
    with pytest.raises(GradientError, match="int64"):
        grad(lambda x: x)(bl.tensor(1))
    with pytest.raises(OperationError, match="tangent"):
        jvp(lambda x: x, (t([1.0, 2.0]),), (t(1.0),))
    with pytest.raises(OperationError, match="argnums"):
        grad(lambda x: x, argnums=3)(t(1.0))


def test_constant_function_has_zero_derivatives():
    assert jacrev(lambda x: t([1.0, 2.0]))(t([1.0])).tolist() == [[0.0], [0.0]]
    assert jacfwd(lambda x: t([1.0, 2.0]))(t([1.0])).tolist() == [[0.0], [0.0]]
