"""Gradients and tangents of a sample of operations against JAX, in float64, and JAX's own checker run on our rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backlit as bl
from backlit import func
from backlit.ops.definition import constant

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[tuple[int, ...]]]] = {
    # name: ours, theirs (given jax.numpy, jax.nn and jax.scipy), shapes of the inputs
    "mul": (lambda x, y: x * y, lambda j, x, y: x * y, [(3, 4), (4,)]),
    "div": (lambda x, y: x / (y * y + 1), lambda j, x, y: x / (y * y + 1), [(2, 1, 3), (4, 1)]),
    "pow": (lambda x, y: (x * x + 0.5) ** y, lambda j, x, y: (x * x + 0.5) ** y, [(3, 4), (4,)]),
    "tanh": (bl.tanh, lambda j, x: j.numpy.tanh(x), [(3, 4)]),
    "sigmoid": (bl.sigmoid, lambda j, x: j.nn.sigmoid(x), [(3, 4)]),
    "softplus": (lambda x: bl.nn.functional.softplus(x), lambda j, x: j.nn.softplus(x), [(3, 4)]),
    "silu": (lambda x: bl.nn.functional.silu(x), lambda j, x: j.nn.silu(x), [(3, 4)]),
    "gelu": (lambda x: bl.nn.functional.gelu(x), lambda j, x: j.nn.gelu(x, approximate=False), [(3, 4)]),
    "erf": (bl.erf, lambda j, x: j.scipy.special.erf(x), [(3, 4)]),
    "atan2": (bl.atan2, lambda j, x, y: j.numpy.arctan2(x, y), [(3, 4), (3, 1)]),
    "where": (
        lambda x, y: bl.where(x > y, x * y, y),
        lambda j, x, y: j.numpy.where(x > y, x * y, y),
        [(3, 4), (4,)],
    ),
    "maximum": (bl.maximum, lambda j, x, y: j.numpy.maximum(x, y), [(3, 4), (4,)]),
    "matmul": (bl.matmul, lambda j, x, y: x @ y, [(2, 1, 3, 4), (5, 4, 2)]),
    "einsum": (
        lambda x, y: bl.einsum("bij,jk->bki", x, y),
        lambda j, x, y: j.numpy.einsum("bij,jk->bki", x, y),
        [(2, 3, 4), (4, 5)],
    ),
    "logsumexp": (lambda x: bl.logsumexp(x, 1), lambda j, x: j.nn.logsumexp(x, 1), [(3, 4)]),
    "softmax": (lambda x: bl.softmax(x, -1), lambda j, x: j.nn.softmax(x, -1), [(3, 4)]),
    "log_softmax": (lambda x: bl.log_softmax(x, 0), lambda j, x: j.nn.log_softmax(x, 0), [(3, 4)]),
    "var": (lambda x: bl.var(x, 1), lambda j, x: j.numpy.var(x, 1, ddof=1), [(3, 4)]),
    "prod": (lambda x: bl.prod(x, 1), lambda j, x: j.numpy.prod(x, 1), [(3, 4)]),
    "cumprod": (lambda x: bl.cumprod(x, 1), lambda j, x: j.numpy.cumprod(x, 1), [(3, 4)]),
    "sort": (lambda x: bl.sort(x, 1)[0], lambda j, x: j.numpy.sort(x, 1), [(3, 4)]),
    "slice": (lambda x: x[1:, ::2, None], lambda j, x: x[1:, ::2, None], [(3, 5)]),
    "gather": (
        lambda x: x[constant(np.array([0, 2, 2])), 1:],
        lambda j, x: x[np.array([0, 2, 2]), 1:],
        [(3, 4)],
    ),
    "conv2d": (
        lambda x, w: bl.nn.functional.conv2d(x, w, stride=2, padding=1),
        lambda j, x, w: j.lax.conv_general_dilated(x, w, (2, 2), ((1, 1), (1, 1))),
        [(2, 3, 5, 5), (4, 3, 3, 3)],
    ),
    "layer_norm": (
        lambda x, w: bl.nn.functional.layer_norm(x, (4,), w),
        lambda j, x, w: (x - x.mean(-1, keepdims=True)) / j.numpy.sqrt(x.var(-1, keepdims=True) + 1e-5) * w,
        [(3, 4), (4,)],
    ),
    "norm": (lambda x: bl.norm(x, dim=1), lambda j, x: j.numpy.linalg.norm(x, axis=1), [(3, 4)]),
}


@pytest.fixture
def jax() -> Any:
    """JAX with float64 turned on for the test only."""
    found = pytest.importorskip("jax")
    before = found.config.jax_enable_x64
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", before)


def drawn(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [rng.normal(size=shape) for shape in shapes]


def array(x: Any) -> np.ndarray:
    return x.detach().numpy()


@pytest.mark.parametrize("name", CASES)
def test_equals_jax(name: str, jax: Any) -> None:
    ours, theirs, shapes = CASES[name]
    xs, vs = drawn(shapes), drawn(shapes)[::-1] if len({*shapes}) == 1 else [x[::-1] for x in drawn(shapes)]
    out, pull = func.vjp(ours, *map(constant, xs))
    wanted, their_pull = jax.vjp(lambda *x: theirs(jax, *x), *xs)
    u = np.random.default_rng(12).normal(size=wanted.shape)
    np.testing.assert_allclose(array(out), wanted, rtol=1e-12, atol=1e-13)
    for mine, right in zip(pull(constant(u)), their_pull(u), strict=True):
        np.testing.assert_allclose(array(mine), right, rtol=1e-11, atol=1e-12)
    _, pushed = func.jvp(ours, tuple(map(constant, xs)), tuple(map(constant, vs)))
    _, right = jax.jvp(lambda *x: theirs(jax, *x), tuple(xs), tuple(vs))
    np.testing.assert_allclose(array(pushed), right, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_passes_jax_checker(name: str, jax: Any) -> None:
    from jax.test_util import check_jvp, check_vjp

    ours, _, shapes = CASES[name]

    def forward(*xs: Any) -> np.ndarray:
        return array(ours(*[constant(np.array(x)) for x in xs]))

    def vjp(*xs: Any) -> Any:
        out, pull = func.vjp(ours, *[constant(np.array(x)) for x in xs])
        return array(out), lambda u: tuple(array(g) for g in _tuple(pull(constant(np.array(u)))))

    def jvp(xs: Any, ts: Any) -> Any:
        out, tangent = func.jvp(
            ours, tuple(constant(np.array(x)) for x in xs), tuple(constant(np.array(t)) for t in ts)
        )
        return array(out), array(tangent)

    xs = tuple(drawn(shapes))
    check_vjp(forward, vjp, xs, atol=1e-5, rtol=1e-5, eps=1e-5)
    check_jvp(forward, jvp, xs, atol=1e-5, rtol=1e-5, eps=1e-5)


def _tuple(gradients: Any) -> tuple[Any, ...]:
    return gradients if isinstance(gradients, tuple) else (gradients,)
