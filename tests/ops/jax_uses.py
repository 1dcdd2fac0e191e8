"""Functions of a (3, 4) matrix in which JAX applies every primitive that ``jax_by_numpy`` computes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

X, Y, Z = (np.random.default_rng(seed).normal(size=(3, 4)) for seed in range(3))
CUBE = np.random.default_rng(3).normal(size=(2, 3, 4))
TIES = np.array([[1.0, 0.0, 1.0, np.nan], [-0.0, 0.0, 2.0, 1.0]])
ROWS = np.array([[2], [0], [2], [-1], [7]])
INSIDE = np.array([[2], [0], [2], [1], [0]])
PLACES = np.array([[0, 3], [2, 0], [1, 3]])


def gather(
    mode: str, sizes: Any = (1, 3), indices: Any = ROWS, windows: Any = (1,), fixed: Any = (0,), to: Any = (0,)
) -> Any:
    numbers = lax.GatherDimensionNumbers(windows, fixed, to)
    return lambda x: [lax.gather(x, jnp.asarray(indices), numbers, sizes, mode=mode)]


def scatter(mode: str, function: Any = lax.scatter_add, indices: Any = ROWS) -> Any:
    numbers = lax.ScatterDimensionNumbers((1,), (0,), (0,))
    updates = np.arange(15.0).reshape(5, 3)
    return lambda x: [function(x, jnp.asarray(indices), updates, numbers, mode=mode)]


def along(x: Any) -> Any:
    return jnp.take_along_axis(x, PLACES % 4, 1)


USES: dict[str, Any] = {
    "elementwise": lambda x: [
        *[f(x) for f in (jnp.sin, jnp.cos, jnp.tanh, jnp.exp, jnp.expm1, jnp.sqrt, jnp.square, jnp.sign, jnp.abs)],
        *[f(x) for f in (jnp.log, jnp.log1p, jnp.floor, jnp.arctan, jnp.arcsinh, lax.rsqrt, lax.logistic)],
        *[f(x) for f in (lax.erf, lax.erfc, lax.is_finite, lax.stop_gradient, lax.neg, jnp.copy)],
    ],
    "powers": lambda x: [x**3, lax.integer_pow(x, -2), jnp.abs(x) ** Y],
    "pairs": lambda x: [x + Y, x - Y, x * Y, x / Y, jnp.maximum(x, Y), jnp.minimum(x, Y), jnp.arctan2(x, Y)],
    "comparisons": lambda x: [x == x * 1.0, x != Y, x > Y, x >= Y, x < Y, x <= Y, (x > 0) & (Y > 0) | ~(x < 1)],
    "sums of gradients": lambda x: [*jax.vjp(lambda x: x * jnp.sin(x), x)[1](Y)],
    "selections": lambda x: [lax.select_n(x > 0, x, Y), lax.select_n(x > 0, x), jnp.where(x > 0, 1.0, x)],
    "reductions": lambda x: [f(x, axes) for f in (jnp.sum, jnp.max, jnp.min, jnp.prod) for axes in (0, (0, 1), None)],
    "reductions of nan": lambda x: [f(TIES * x[:2], 1) for f in (jnp.sum, jnp.max, jnp.min, jnp.prod)],
    "running": lambda x: [f(x, d, reverse=r) for f in (lax.cumsum, lax.cumprod) for d in (0, 1) for r in (False, True)],
    "types": lambda x: [x.astype(int), (x > 0).astype(float), lax.convert_element_type(1, float) * x],
    "broadcast": lambda x: [jnp.broadcast_to(x, (2, 3, 4)), lax.broadcast_in_dim(x, (3, 5, 4), (0, 2))],
    "counting": lambda x: [lax.broadcasted_iota(int, (3, 2), d) * x[0, 0] for d in (0, 1)],
    "shapes": lambda x: [x.reshape(2, 6), lax.reshape(x, (12,), (1, 0)), x.T, x[None].squeeze(0), x[::-1, ::-1]],
    "joins": lambda x: [jnp.tile(x, (2, 1)), jnp.concatenate([x, Y], 1), jnp.stack([x, Y], 1), *jnp.unstack(x, axis=1)],
    "parts": lambda x: [*jnp.split(x, [1, 2], 1), x[1:3, ::2], lax.slice(x, (0, 0), (0, 4))],
    "padding": lambda x: [lax.pad(x, 0.5, p) for p in ([(1, 2, 0), (0, 1, 2)], [(-1, 0, 1), (2, -2, 0)])],
    "padding of nothing": lambda x: [lax.pad(x[:0], 0.5, [(2, 0, 3), (0, 0, 0)]), lax.pad(x[0, 0], 1.0, [])],
    "products": lambda x: [x @ Y.T, jnp.einsum("ij,kij->ki", x, CUBE), jnp.einsum("bij,bkj->bik", CUBE * x, CUBE)],
    "vectors": lambda x: [x[0] @ Y[0], x @ Y[0], jnp.einsum("ij,kl->ijkl", x, Y)],
    "order": lambda x: [lax.sort(TIES + x[:2], d) for d in (0, 1)],
    "order of pairs": lambda x: [*lax.sort((TIES[:, :3] + 0 * x[:2, :3], CUBE[0, :2, :3]), num_keys=1)],
    "order by two": lambda x: [*lax.sort((jnp.floor(x), Y, Z), 0, num_keys=2)],
    **{f"gather {mode}": gather(mode) for mode in ("clip", "fill")},
    "gather inside": gather("promise_in_bounds", indices=INSIDE),
    "gather of windows": gather("clip", (2, 2), PLACES, (1, 2), (), (0, 1)),
    "gather of windows across": gather("clip", (2, 2), PLACES, (0, 2), (), (0, 1)),
    "gather of entries": gather("fill", (1, 1), PLACES, (), (0, 1), (1, 0)),
    "gather by batches": lambda x: [along(x)],
    **{f"scatter-add {mode}": scatter(mode) for mode in ("clip", "fill")},
    "scatter-add inside": scatter("promise_in_bounds", indices=INSIDE),
    "scatter": scatter("fill", lax.scatter, np.array([[2], [0], [-1], [7], [1]])),
    "scatter by batches": lambda x: [*jax.vjp(along, x)[1](Y[:, :2])],
    "programs in programs": lambda x: [jax.nn.relu(x), jax.nn.softplus(x), jax.jit(lambda x: x + 1.0)(x)],
}
