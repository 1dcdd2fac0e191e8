"""The program's own nodes (``autograd.Function``) inside compiled functions: both of their rules become native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit.compile import TraceError
from backlit.compile.assemble.build import externs


class Cube(bl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3.0 * x * x


class SumAndProduct(bl.autograd.Function):
    """Two outputs, and an output among what is saved."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        product = (x * y).tanh()
        ctx.save_for_backward(x, y, product)
        return x + y, product

    @staticmethod
    def backward(ctx: Any, a: Any, b: Any) -> Any:
        x, y, product = ctx.saved_tensors
        slope = b * (1.0 - product * product)
        return a + slope * y, a + slope * x


class Straight(bl.autograd.Function):
    """A gradient that is not the forward rule's."""

    factor = 1.0

    @staticmethod
    def forward(x: Any) -> Any:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * Straight.factor


def leaves() -> list[Any]:
    drawn = np.random.default_rng(0).normal(size=(2, 3, 5))
    return [bl.tensor(x, requires_grad=True) for x in drawn]


def both(x: Any, y: Any) -> Any:
    total, product = SumAndProduct.apply(x, y)
    return (total * product + SumAndProduct.apply(product, x)[1]).sum()


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "one": lambda x, y: (Cube.apply(x) * y).sum(),
    "nested": lambda x, y: Cube.apply(Cube.apply(x) + y).sum(),
    "two outputs": both,
    "straight through": lambda x, y: (Straight.apply(x * 3.0) * y).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_inside_and_outside(name: str) -> None:
    loss, given = LOSSES[name], leaves()

    def inside(x: Any, y: Any) -> Any:
        return bl.autograd.grad(loss(x, y), (x, y))

    wanted = inside(*given)
    compiled, outside = bl.compile(inside), bl.compile(loss)
    for _ in range(3):
        for found in (compiled(*given), bl.autograd.grad(outside(*given), given)):
            for a, b in zip(wanted, found, strict=True):
                np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12)
    assert not externs(compiled._latest().executable.built)


def test_what_a_rule_reads_is_compared_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = leaves()
    compiled = bl.compile(lambda x: bl.autograd.grad(Straight.apply(x).sum(), x)[0])
    for factor in (1.0, 1.0, 2.0, 2.0):
        monkeypatch.setattr(Straight, "factor", factor)
        assert compiled(x).numpy().max() == factor


def test_a_node_made_before_the_call_is_refused() -> None:
    x, y = leaves()
    made = Cube.apply(x)
    with pytest.raises(TraceError, match=r"Cube, computed at .* before the compiled function was called"):
        bl.compile(lambda y: bl.autograd.grad((made * y).sum(), x))(y)
