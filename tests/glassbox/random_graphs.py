"""Random small programs: elementwise operations, products, sums, broadcasting, and values used again."""

import numpy as np

import backlit as bl

_SHAPES = ((), (3,), (2, 3), (3, 3), (1, 3))
_UNARY = (bl.tanh, bl.sigmoid, bl.exp, bl.sin, lambda x: -x, lambda x: x * 0.5, lambda x: x**2, bl.softplus)
_BINARY = (bl.add, bl.sub, bl.mul, lambda x, y: x / (y * y + 1.0), bl.maximum)


def random_program(seed: int, steps: int = 7):
    """A float64 scalar that depends on a few leaves by a random program of ``steps`` operations."""
    rng = np.random.default_rng(seed)
    values = [leaf(rng, shape) for shape in rng.permutation(np.array(_SHAPES, object))[:3]]
    for _ in range(steps):
        values.append(_step(rng, values))
    last = values[-1]
    return (last * values[int(rng.integers(len(values)))].sum()).sum()


def leaf(rng, shape):
    return bl.tensor(rng.normal(size=tuple(shape)), requires_grad=True)


def _step(rng, values):
    kind = rng.integers(4)
    x = values[int(rng.integers(len(values)))]
    if kind == 0:
        return _UNARY[int(rng.integers(len(_UNARY)))](bl.tanh(x))
    if kind == 1:
        fitting = [y for y in values if _broadcast(x, y)]
        y = fitting[int(rng.integers(len(fitting)))]
        return _BINARY[int(rng.integers(len(_BINARY)))](x, y)
    if kind == 2:
        fitting = [y for y in values if x.ndim == 2 and y.ndim == 2 and x.shape[1] == y.shape[0]]
        return x @ fitting[int(rng.integers(len(fitting)))] if fitting else x + 1.0
    return x.sum(0) if x.ndim and rng.integers(2) else x.mean(-1, keepdim=True) if x.ndim else x * x


def _broadcast(x, y):
    return all(m == n or 1 in (m, n) for m, n in zip(x.shape[::-1], y.shape[::-1], strict=False))
