"""Function transformations compiled: Jacobians, Hessians, products, zeros in place of gradients that are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit import func
from backlit.containers import flatten

autograd = bl.autograd


def curve(x: Any) -> Any:
    return bl.sin(x) * x


def total(x: Any) -> Any:
    return curve(x).sum()


def first(x: Any, y: Any) -> Any:
    """Depends on one of its arguments only."""
    return bl.exp(x)


class Halves(autograd.Function):
    """Two results, of which most uses need one."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, a: Any, b: Any) -> Any:
        return a * 2 + b * 3


def unused_input(x: Any) -> Any:
    y, z = (x * 2).detach().requires_grad_(), x.detach().requires_grad_()
    return autograd.grad((y**3).sum(), (y, z), materialize_grads=True)


def unused_result(x: Any) -> Any:
    y = x.detach().requires_grad_()
    return autograd.grad((Halves.apply(y)[0] * x).sum(), y)


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "grad": func.grad(total),
    "vjp": lambda x: func.vjp(curve, x)[1](x),
    "vjp, argument not used": lambda x: func.vjp(first, x, x)[1](x),
    "jvp": lambda x: func.jvp(curve, (x,), (x,)),
    "jvp, argument not used": lambda x: func.jvp(lambda y: x * 2, (x,), (x,)),
    "jacrev": func.jacrev(curve),
    "jacrev, argument not used": lambda x: func.jacrev(first, (0, 1))(x, x),
    "jacrev, nothing used": lambda x: func.jacrev(lambda y: x * 2)(x),
    "jacfwd": func.jacfwd(curve),
    "jacfwd, argument not used": lambda x: func.jacfwd(first, (0, 1))(x, x),
    "hessian": func.hessian(total),
    "hessian of a linear function": func.hessian(lambda x: x.sum()),
    "gradient of a Hessian's trace": func.grad(lambda x: func.hessian(total)(x).diagonal().sum()),
    "linearize": lambda x: func.linearize(curve, x)[1](x),
    "linearize, nothing used": lambda x: func.linearize(lambda y: x * 2, x)[1](x),
    "functional.hessian": lambda x: autograd.functional.hessian(total, x),
    "functional.hvp": lambda x: autograd.functional.hvp(total, x, x),
    "functional.vjp": lambda x: autograd.functional.vjp(curve, x, x),
    "unused input": unused_input,
    "unused result": unused_result,
    "np.zeros_like": lambda x: np.zeros_like(x) + x * np.ones_like(x),
}


@pytest.mark.parametrize("size", [3, 0])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transformation_is_compiled_with_what_it_surrounds(name: str, size: int) -> None:
    if size == 0 and name in ("jvp, argument not used",):
        size = 1
    transform = TRANSFORMS[name]
    compiled = bl.compile(transform)
    for i in range(3):  # other values each time: none may be part of the program
        x = bl.tensor(np.arange(size, dtype=np.float32) + i)
        wanted, found = (flatten(call(x))[0] for call in (transform, compiled))
        assert len(wanted) == len(found) > 0
        for a, b in zip(wanted, found, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, atol=1e-6)
            assert (b.shape, b.dtype) == (a.shape, a.dtype)


def test_an_empty_array_is_taken_whatever_its_strides_are() -> None:
    """NumPy gives arrays made of empty lists strides of 0, and their copies others."""
    chosen = np.array([(), ()], np.int64).reshape(-1)
    assert bl.compile(lambda x: bl.index_select(x, 0, np.array([], np.int64)))(bl.ones(4)).shape == (0,)
    compiled = bl.compile(lambda x: bl.combinations(x[:1]) * 2)
    for _ in range(2):
        assert compiled(bl.ones(4)).shape == (0, 2)
    assert bl.compile(lambda x: x * 2)(bl.tensor(chosen)).shape == (0,)


def test_a_value_placed_nowhere_has_a_gradient_of_zero() -> None:
    def function(x: Any) -> Any:
        value = x.sum().detach().requires_grad_()
        y = x.detach().requires_grad_()
        out = bl.scatter(y, 0, np.zeros((0, 3), np.int64), value=value)
        return autograd.grad(out.sum(), (y, value), materialize_grads=True)

    compiled = bl.compile(function)
    for i in range(3):
        x = bl.tensor(np.full((2, 3), i, np.float32))
        to_x, to_value = compiled(x)
        np.testing.assert_array_equal(to_x.numpy(), np.ones((2, 3), np.float32))
        assert to_value.shape == () and to_value.item() == 0
