"""Random programs in JAX: the vocabulary of ``programs`` over jax.numpy, and the comparison with Backlit.

JAX differentiates functions, so a recorded program is replayed as a function of its leaves. It sees no numbers in that;
where a program decides by numbers, it decides as it did in the other libraries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs
from jax import nn
from jax.extend.core import jaxpr_as_fun
from jax_by_numpy import evaluate

OMITTED = {"write", "write_part_of_copy"}
"""Instructions that write to memory which several results show. JAX has no such memory."""


def functional() -> list[programs.Instruction]:
    return [kind for kind in programs.INSTRUCTIONS if kind.name not in OMITTED]


def bare(value: Any) -> Any:
    """JAX's arrays in nested arguments; lists of numbers as arrays."""
    if isinstance(value, Array):
        return value.a
    if isinstance(value, tuple):
        return tuple(map(bare, value))
    return np.asarray(value) if isinstance(value, list) else value


class Array:
    """A traced JAX array with the methods of a tensor that programs use; ``known`` are its numbers, for decisions."""

    constant = False
    """Whether what is made now is cut off from its history, as under ``no_grad``."""

    def __init__(self, a: Any, known: np.ndarray | None = None) -> None:
        self.a = jax.lax.stop_gradient(a) if Array.constant else a
        self.known = known

    shape = property(lambda self: self.a.shape)
    ndim = property(lambda self: self.a.ndim)
    mT = property(lambda self: Array(self.a.mT))

    def detach(self) -> Array:
        return Array(jax.lax.stop_gradient(self.a), self.known)

    def numpy(self) -> np.ndarray:
        assert self.known is not None, "a program decides by numbers that were not kept"
        return self.known

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __gt__(self, other: Any) -> Array:
        known = None if self.known is None else self.known > getattr(other, "known", other)
        return Array(self.a > bare(other), known)

    def __getitem__(self, key: Any) -> Array:
        decides = isinstance(key, Array) and key.a.dtype == bool
        return Array(self.a[key.numpy() if decides else bare(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.a = self.a.at[key].set(bare(value))

    def permute(self, *order: int) -> Array:
        return Array(self.a.transpose(order))

    def transpose(self, i: int, j: int) -> Array:
        return Array(jnp.swapaxes(self.a, i, j))

    def reshape(self, *shape: int) -> Array:
        return Array(self.a.reshape(shape))

    def flatten(self) -> Array:
        return Array(self.a.reshape(-1))

    def unsqueeze(self, d: int) -> Array:
        return Array(jnp.expand_dims(self.a, d))

    def squeeze(self) -> Array:
        return Array(self.a.squeeze())

    def expand(self, *shape: int) -> Array:
        return Array(jnp.broadcast_to(self.a, shape))

    def repeat(self, *times: int) -> Array:
        return Array(jnp.tile(self.a, times))

    def sum(self) -> Array:
        return Array(self.a.sum(), None if self.known is None else self.known.sum())

    def mean(self) -> Array:
        return Array(self.a.mean())

    def max(self) -> Array:
        return Array(self.a.max())

    def clone(self) -> Array:
        return Array(self.a)

    def contiguous(self) -> Array:
        return self

    def add_(self, other: Any) -> None:
        self.a = self.a + bare(other)

    def mul_(self, other: Any) -> None:
        self.a = self.a * bare(other)

    def copy_(self, other: Any) -> None:
        self.a = jnp.broadcast_to(bare(other), self.a.shape)

    def index_add(self, d: int, index: Array, source: Array) -> Array:
        assert d == 0
        return Array(self.a.at[index.a].add(source.a))


def _operator(name: str) -> Any:
    return lambda self, other: Array(getattr(self.a, name)(bare(other)))


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul", "eq"):
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))


def wrapped(function: Any) -> Any:
    """A function of jax.numpy as one of :class:`Array`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(list(map(bare, a)) if isinstance(a, list) and isinstance(a[0], Array) else bare(a) for a in args)
        out = function(*args, **kwargs)
        return [Array(part) for part in out] if isinstance(out, (list, tuple)) else Array(out)

    return call


def _clamp(x: Any, low: float | None, high: float) -> Any:
    inside = x <= high if low is None else (x >= low) & (x <= high)
    return jnp.where(inside, x, jax.lax.stop_gradient(jnp.clip(x, low, high)))


def _hardtanh(x: Any) -> Any:
    return jnp.where((x > -1) & (x < 1), x, jax.lax.stop_gradient(jnp.clip(x, -1, 1)))


def _hardswish(x: Any) -> Any:
    return jnp.where(x < -3, 0.0, jnp.where(x > 3, x, x * (x + 3) / 6))


def _layer_norm(x: Any, shape: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)


def _sort(x: Any, dim: int, stable: bool, descending: bool = False) -> list[Any]:
    return [-jnp.sort(-x, dim, stable=True) if descending else jnp.sort(x, dim, stable=True)]


def _norm(x: Any, dim: int, keepdim: bool) -> Any:
    return jnp.sqrt(jnp.sum(x * x, dim, keepdims=keepdim))


def _where(condition: Any, x: Any, y: Any) -> Any:
    return jnp.where(condition, x, y)


FUNCTIONAL = {
    "softplus": nn.softplus,
    "silu": nn.silu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
    "logsigmoid": lambda x: -nn.softplus(-x),
    "relu": nn.relu,
    "leaky_relu": lambda x: jnp.where(x > 0, x, 0.01 * x),
    "elu": nn.elu,
    "hardtanh": _hardtanh,
    "hardswish": _hardswish,
    "layer_norm": _layer_norm,
    "pad": lambda x, widths: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [widths]),
}
NAMES = {
    **{name: getattr(jnp, name) for name in ("tanh", "sin", "cos", "square", "abs", "sign", "log", "sqrt", "log1p")},
    **{name: getattr(jnp, name) for name in ("reciprocal", "pow", "maximum", "minimum", "tile", "stack", "tril")},
    **{name: getattr(jnp, name) for name in ("triu", "cumsum", "cumprod", "einsum", "flip", "roll", "zeros_like")},
    "neg": jnp.negative,
    "sigmoid": nn.sigmoid,
    "atan": jnp.arctan,
    "asinh": jnp.arcsinh,
    "erf": jax.scipy.special.erf,
    "rsqrt": jax.lax.rsqrt,
    "clamp": _clamp,
    "atan2": jnp.arctan2,
    "lerp": lambda x, y, w: x + w * (y - x),
    "where": _where,
    "chunk": lambda x, n: [x[i : i + -(-len(x) // n)] for i in range(0, len(x), -(-len(x) // n))],
    "split": lambda x, n: [x[i : i + n] for i in range(0, len(x), n)],
    "unbind": lambda x: [x[i] for i in range(len(x))],
    "cat": lambda xs, d: jnp.concatenate(xs, d),
    "sum": lambda x, dim=None, keep=False: jnp.sum(x, dim, keepdims=keep),
    "mean": lambda x, dim=None, keep=False: jnp.mean(x, dim, keepdims=keep),
    "prod": lambda x, dim, keep: jnp.prod(x, dim, keepdims=keep),
    "amax": lambda x, dim, keep=False: jnp.max(x, dim, keepdims=keep),
    "amin": lambda x, dim, keep=False: jnp.min(x, dim, keepdims=keep),
    "logsumexp": lambda x, dim, keep: nn.logsumexp(x, dim, keepdims=keep),
    "var": lambda x, dim, unbiased, keepdim: jnp.var(x, dim, ddof=int(unbiased), keepdims=keepdim),
    "softmax": nn.softmax,
    "log_softmax": nn.log_softmax,
    "norm": _norm,
    "sort": _sort,
    "masked_fill": lambda x, mask, value: jnp.where(mask, value, x),
    "index_select": lambda x, dim, index: jnp.take(x, index, dim),
    "tensor": jnp.asarray,
}


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """PyTorch's no_grad for :class:`Array`."""
    Array.constant = True
    try:
        yield
    finally:
        Array.constant = False


LIBRARY = SimpleNamespace(
    **{name: wrapped(function) for name, function in NAMES.items()},
    nn=SimpleNamespace(
        functional=SimpleNamespace(**{name: wrapped(function) for name, function in FUNCTIONAL.items()})
    ),
    masked_select=lambda x, mask: x[mask],
    no_grad=no_grad,
)


def replayed(pair: programs.Pair, leaves: tuple[Any, ...]) -> list[Any]:
    """Every result of a program that the other libraries ran, in JAX."""
    named = {kind.name: kind for kind in programs.INSTRUCTIONS}
    known = [programs.array(ours) for _, ours in pair.pool]
    pool = [Array(leaf, numbers) for leaf, numbers in zip(leaves, known, strict=False)]
    for (name, choices, values), fate in zip(pair.record["steps"], pair.fates, strict=True):
        if fate != "dropped":
            draw = programs.Tape.of(values).rewound()
            out = named[name].function(LIBRARY, draw, *[pool[i] for i in choices])
            out = programs.squashed(LIBRARY, out) if fate == "squashed" else out
            pool.append(Array(out.a, known[len(pool)]))
    return [x.a for x in pool]


def by_xla(program: Any, *inputs: Any) -> list[Any]:
    """The results of a closed jaxpr, compiled by XLA: right by definition, and slow."""
    return jax.jit(jaxpr_as_fun(program))(*inputs)


def compare(pair: programs.Pair, compute: Callable[..., list[Any]] = evaluate) -> None:
    """JAX gives Backlit's values and gradients; ``compute`` does the arithmetic of what JAX writes down."""
    if pair.refused:
        return
    leaves = programs.leaf_values(pair.record)
    found = compute(jax.make_jaxpr(lambda *leaves: _both_ways(pair, leaves))(*leaves), *leaves)
    results, gradients = found[: len(pair.pool)], found[len(pair.pool) :]
    for i, ((_, ours), theirs) in enumerate(zip(pair.pool, results, strict=True)):
        _same(pair, f"t{i}", programs.array(ours), theirs)
    for i, ((_, leaf), theirs) in enumerate(zip(pair.leaves, gradients, strict=True)):
        _same(pair, f"gradient of leaf {i}", programs.array(leaf.grad), theirs)


def _both_ways(pair: programs.Pair, leaves: tuple[Any, ...]) -> list[Any]:
    """A program's results, then the gradients of the leaves."""
    results, pull = jax.vjp(lambda *leaves: replayed(pair, leaves), *leaves)
    return [*results, *pull([jnp.full_like(x, programs.weight(i)) for i, x in enumerate(results)])]


def _same(pair: programs.Pair, what: str, ours: np.ndarray, theirs: Any) -> None:
    theirs = np.asarray(theirs)
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-10, atol=1e-10 * scale, equal_nan=True):
        raise pair.disagree(f"{what}: {ours} instead of JAX's {theirs}")
