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
    "log": (lambda x: bl.log(x * x + 0.5), lambda j, x: j.numpy.log(x * x + 0.5), [(3, 4)]),
    "sqrt": (lambda x: bl.sqrt(x * x + 0.5), lambda j, x: j.numpy.sqrt(x * x + 0.5), [(3, 4)]),
    "rsqrt": (lambda x: bl.rsqrt(x * x + 0.5), lambda j, x: j.lax.rsqrt(x * x + 0.5), [(3, 4)]),
    "asin": (lambda x: bl.asin(bl.tanh(x)), lambda j, x: j.numpy.arcsin(j.numpy.tanh(x)), [(3, 4)]),
    "acos": (lambda x: bl.acos(bl.tanh(x)), lambda j, x: j.numpy.arccos(j.numpy.tanh(x)), [(3, 4)]),
    "atanh": (lambda x: bl.atanh(bl.tanh(x) / 2), lambda j, x: j.numpy.arctanh(j.numpy.tanh(x) / 2), [(3, 4)]),
    "acosh": (lambda x: bl.acosh(x * x + 1.5), lambda j, x: j.numpy.arccosh(x * x + 1.5), [(3, 4)]),
    "log1p": (lambda x: bl.log1p(x * x), lambda j, x: j.numpy.log1p(x * x), [(3, 4)]),
    "erfinv": (lambda x: bl.erfinv(bl.tanh(x)), lambda j, x: j.scipy.special.erfinv(j.numpy.tanh(x)), [(3, 4)]),
    "logit": (lambda x: bl.logit(bl.sigmoid(x)), lambda j, x: j.scipy.special.logit(j.nn.sigmoid(x)), [(3, 4)]),
    "xlogy": (lambda x, y: bl.xlogy(x, y * y + 1), lambda j, x, y: j.scipy.special.xlogy(x, y * y + 1), [(3, 4), (4,)]),
    "logaddexp": (bl.logaddexp, lambda j, x, y: j.numpy.logaddexp(x, y), [(3, 4), (4,)]),
    "hypot": (bl.hypot, lambda j, x, y: j.numpy.hypot(x, y), [(3, 4), (4,)]),
    "fmod": (lambda x, y: bl.fmod(x, y), lambda j, x, y: j.numpy.fmod(x, y), [(3, 4), (4,)]),
    "remainder": (lambda x, y: bl.remainder(x, y), lambda j, x, y: j.numpy.remainder(x, y), [(3, 4), (4,)]),
    "minimum": (bl.minimum, lambda j, x, y: j.numpy.minimum(x, y), [(3, 4), (4,)]),
    "lerp": (lambda x, y: bl.lerp(x, y, 0.3), lambda j, x, y: x + 0.3 * (y - x), [(3, 4), (4,)]),
    "outer": (bl.outer, lambda j, x, y: j.numpy.outer(x, y), [(3,), (4,)]),
    "kron": (bl.kron, lambda j, x, y: j.numpy.kron(x, y), [(2, 3), (3, 2)]),
    "cross": (lambda x, y: bl.cross(x, y, dim=1), lambda j, x, y: j.numpy.cross(x, y, axis=1), [(4, 3), (4, 3)]),
    "tensordot": (
        lambda x, y: bl.tensordot(x, y, 2),
        lambda j, x, y: j.numpy.tensordot(x, y, 2),
        [(2, 3, 4), (3, 4, 2)],
    ),
    "trace": (bl.trace, lambda j, x: j.numpy.trace(x), [(4, 4)]),
    "diagonal": (lambda x: bl.diagonal(x, 1), lambda j, x: j.numpy.diagonal(x, 1), [(3, 4)]),
    "tril": (lambda x: bl.tril(x, -1), lambda j, x: j.numpy.tril(x, -1), [(4, 3)]),
    "flip": (lambda x: bl.flip(x, (0, 1)), lambda j, x: j.numpy.flip(x, (0, 1)), [(3, 4)]),
    "roll": (lambda x: bl.roll(x, 2, 1), lambda j, x: j.numpy.roll(x, 2, 1), [(3, 4)]),
    "repeat_interleave": (
        lambda x: bl.repeat_interleave(x, 2, 1),
        lambda j, x: j.numpy.repeat(x, 2, 1),
        [(3, 4)],
    ),
    "cat": (lambda x, y: bl.cat([x, y, x], 1), lambda j, x, y: j.numpy.concatenate([x, y, x], 1), [(3, 4), (3, 2)]),
    "stack": (lambda x, y: bl.stack([x, y], -1), lambda j, x, y: j.numpy.stack([x, y], -1), [(3, 4), (3, 4)]),
    "pad": (
        lambda x: bl.nn.functional.pad(x, (1, 2), mode="reflect"),
        lambda j, x: j.numpy.pad(x, ((0, 0), (1, 2)), mode="reflect"),
        [(3, 4)],
    ),
    "cumsum": (lambda x: bl.cumsum(x, 0), lambda j, x: j.numpy.cumsum(x, 0), [(3, 4)]),
    "logcumsumexp": (lambda x: bl.logcumsumexp(x, 1), lambda j, x: j.lax.cumlogsumexp(x, 1), [(3, 4)]),
    "std": (lambda x: bl.std(x, 0), lambda j, x: j.numpy.std(x, 0, ddof=1), [(3, 4)]),
    "amax": (lambda x: bl.amax(x, 1), lambda j, x: j.numpy.max(x, 1), [(3, 4)]),
    "median": (lambda x: bl.median(x, 1)[0], lambda j, x: j.numpy.median(x, 1), [(4, 3)]),
    "quantile": (lambda x: bl.quantile(x, 0.3, 1), lambda j, x: j.numpy.quantile(x, 0.3, 1), [(3, 4)]),
    "diff": (lambda x: bl.diff(x), lambda j, x: j.numpy.diff(x), [(3, 4)]),
    "cov": (bl.cov, lambda j, x: j.numpy.cov(x), [(3, 4)]),
    "corrcoef": (bl.corrcoef, lambda j, x: j.numpy.corrcoef(x), [(3, 4)]),
    "index_add": (
        lambda x, y: bl.index_add(x, 0, constant(np.array([0, 2, 2])), y),
        lambda j, x, y: x.at[np.array([0, 2, 2])].add(y),
        [(3, 4), (3, 4)],
    ),
    "relu": (lambda x: bl.nn.functional.relu(x), lambda j, x: j.nn.relu(x), [(3, 4)]),
    "elu": (lambda x: bl.nn.functional.elu(x), lambda j, x: j.nn.elu(x), [(3, 4)]),
    "selu": (lambda x: bl.nn.functional.selu(x), lambda j, x: j.nn.selu(x), [(3, 4)]),
    "celu": (lambda x: bl.nn.functional.celu(x, 0.7), lambda j, x: j.nn.celu(x, 0.7), [(3, 4)]),
    "gelu_tanh": (
        lambda x: bl.nn.functional.gelu(x, approximate="tanh"),
        lambda j, x: j.nn.gelu(x, approximate=True),
        [(3, 4)],
    ),
    "glu": (lambda x: bl.nn.functional.glu(x, 1), lambda j, x: j.nn.glu(x, 1), [(3, 4)]),
    "mish": (lambda x: bl.nn.functional.mish(x), lambda j, x: j.nn.mish(x), [(3, 4)]),
    "logsigmoid": (lambda x: bl.nn.functional.logsigmoid(x), lambda j, x: j.nn.log_sigmoid(x), [(3, 4)]),
    "cross_entropy": (
        lambda x: bl.nn.functional.cross_entropy(x, constant(np.array([1, 0, 3]))),
        lambda j, x: -j.nn.log_softmax(x)[np.arange(3), np.array([1, 0, 3])].mean(),
        [(3, 4)],
    ),
    "attention": (
        lambda q, k, v: bl.nn.functional.scaled_dot_product_attention(q, k, v),
        lambda j, q, k, v: j.nn.softmax(q @ k.swapaxes(-1, -2) / 2.0) @ v,
        [(2, 3, 4), (2, 5, 4), (2, 5, 2)],
    ),
    "max_pool2d": (
        lambda x: bl.nn.functional.max_pool2d(x, 2),
        lambda j, x: j.lax.reduce_window(x, -np.inf, j.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"),
        [(2, 2, 4, 4)],
    ),
    "avg_pool2d": (
        lambda x: bl.nn.functional.avg_pool2d(x, 2),
        lambda j, x: j.lax.reduce_window(x, 0.0, j.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4,
        [(2, 2, 4, 4)],
    ),
    "conv_transpose2d": (
        lambda x, w: bl.nn.functional.conv_transpose2d(x, w, stride=2),
        lambda j, x, w: j.lax.conv_general_dilated(
            x, j.numpy.flip(w, (2, 3)).swapaxes(0, 1), (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2)
        ),
        [(2, 3, 4, 4), (3, 2, 3, 3)],
    ),
}


def _same_name(ours: str, theirs: str | None = None) -> tuple[Any, Any, list[tuple[int, ...]]]:
    return getattr(bl, ours), lambda j, x: getattr(j.numpy, theirs or ours)(x), [(3, 4)]


CASES |= {name: _same_name(name) for name in ("exp", "exp2", "expm1", "sin", "cos", "sinh", "cosh", "square", "sinc")}
CASES |= {name: _same_name(name) for name in ("abs", "sum", "mean", "ravel", "fliplr", "flipud", "diag", "deg2rad")}
CASES |= {"atan": _same_name("atan", "arctan"), "asinh": _same_name("asinh", "arcsinh")}
CASES |= {"neg": _same_name("neg", "negative"), "t": _same_name("t", "transpose")}


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
    ours, _, shapes = CASES[name]
    jax_checks(ours, shapes)


def test_jax_checker_notices_a_wrong_gradient(jax: Any) -> None:
    with pytest.raises(AssertionError):
        jax_checks(lambda x: bl.tanh(x).detach() + (x - x.detach()), [(3, 4)])


def jax_checks(ours: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    """JAX's own checkers, which compare our vjp and jvp with differences of our values."""
    from jax.test_util import check_jvp, check_vjp

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
