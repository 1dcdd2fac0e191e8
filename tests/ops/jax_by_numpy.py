"""What JAX would compute, computed by NumPy.

JAX compiles each primitive anew for each shape, which takes a thousand times as long as computing it: random programs
have new shapes all the time. A derivative that JAX wrote down (a jaxpr) is its judgement already; here NumPy does the
arithmetic of it. ``test_jax_by_numpy`` holds each primitive against XLA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.special

Array = np.ndarray[Any, Any]


def _pad(x: Array, value: Any, *, padding_config: Sequence[tuple[int, int, int]]) -> Array:
    """Put entries ``interior`` places apart, then add ``low`` and ``high`` places, or cut them off where negative."""
    if not padding_config:
        return x
    low, high, inner = zip(*padding_config, strict=True)
    spread = np.full([max(0, n + (n - 1) * gap) for n, gap in zip(x.shape, inner, strict=True)], value)
    spread[tuple(slice(None, None, gap + 1) for gap in inner)] = x
    widths = [(max(before, 0), max(after, 0)) for before, after in zip(low, high, strict=True)]
    around = np.pad(spread, widths, constant_values=value)
    ends = zip(around.shape, low, high, strict=True)
    return around[tuple(slice(max(-before, 0), n - max(-after, 0)) for n, before, after in ends)]


def _broadcast_in_dim(x: Any, *, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Array:
    places = [1] * len(shape)
    for place, size in zip(broadcast_dimensions, np.shape(x), strict=True):
        places[place] = size
    return np.broadcast_to(np.reshape(x, places), shape)


def _dot_general(x: Array, y: Array, *, dimension_numbers: Any) -> Array:
    (contract_x, contract_y), (batch_x, batch_y) = dimension_numbers
    of_x, of_y = list(range(x.ndim)), list(range(x.ndim, x.ndim + y.ndim))
    for i, j in (*zip(contract_x, contract_y, strict=True), *zip(batch_x, batch_y, strict=True)):
        of_y[j] = of_x[i]
    free_x = [of_x[i] for i in range(x.ndim) if i not in (*contract_x, *batch_x)]
    free_y = [of_y[j] for j in range(y.ndim) if j not in (*contract_y, *batch_y)]
    return np.einsum(x, of_x, y, of_y, [*(of_x[i] for i in batch_x), *free_x, *free_y])


def _accumulated(function: Any) -> Callable[..., Array]:
    def run(x: Array, *, axis: int, reverse: bool) -> Array:
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    return run


def _sort(*operands: Array, dimension: int, is_stable: bool, num_keys: int) -> list[Array]:
    order = np.lexsort(operands[num_keys - 1 :: -1], axis=dimension)  # the last key of lexsort is the first one here
    return [np.take_along_axis(x, order, dimension) for x in operands]


def _split(x: Array, *, sizes: Sequence[int], axis: int) -> list[Array]:
    return np.split(x, np.cumsum(sizes)[:-1], axis)


# -- gather and scatter -------------------------------------------------------------------------------------------


def _positions(
    shape: Sequence[int], indices: Array, dimension_numbers: Any, sizes: Sequence[int], out_shape: Sequence[int]
) -> tuple[Array, Array]:
    """For each entry of the windows: its flat position in an operand of this shape, and whether that is inside.

    ``dimension_numbers`` are those of a gather; ``out_shape`` is that of its result.
    """
    numbers = dimension_numbers
    rank = len(out_shape)
    batch = [d for d in range(rank) if d not in numbers.offset_dims]
    windows = iter(numbers.offset_dims)
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    position, inside = np.zeros(out_shape, np.int64), np.ones(out_shape, bool)
    for d, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        place = np.zeros([1] * rank, np.int64)
        if d in numbers.start_index_map:
            start = indices[..., numbers.start_index_map.index(d)]
            start = start.reshape([out_shape[i] if i in batch else 1 for i in range(rank)])
            inside &= (start >= 0) & (start <= length - size)
            place = place + np.clip(start, 0, length - size)
        if d in numbers.operand_batching_dims:
            along = batch[numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(d)]]
            place = place + np.arange(out_shape[along]).reshape([-1 if i == along else 1 for i in range(rank)])
        elif d not in numbers.collapsed_slice_dims:
            along = next(windows)
            place = place + np.arange(size).reshape([-1 if i == along else 1 for i in range(rank)])
        position += strides[d] * place
    return position, inside


def _gather(
    x: Array, indices: Array, *, dimension_numbers: Any, slice_sizes: Any, mode: Any, fill_value: Any = np.nan
) -> Array:
    kept = [
        size
        for d, size in enumerate(slice_sizes)
        if d not in (*dimension_numbers.collapsed_slice_dims, *dimension_numbers.operand_batching_dims)
    ]
    rows, windows = iter(indices.shape[:-1]), iter(kept)
    rank = indices.ndim - 1 + len(kept)
    out_shape = [next(windows if d in dimension_numbers.offset_dims else rows) for d in range(rank)]
    position, inside = _positions(x.shape, indices, dimension_numbers, slice_sizes, out_shape)
    found = x.reshape(-1)[position]
    return found if inside.all() or "FILL" not in str(mode) else np.where(inside, found, fill_value)


def _scattered(write: Callable[[Array, Array, Array], None]) -> Callable[..., Array]:
    """A scatter that writes with ``write(flat operand, positions, updates)``."""

    def run(x: Array, indices: Array, updates: Array, *, dimension_numbers: Any, mode: Any) -> Array:
        n = dimension_numbers
        gather = jax.lax.GatherDimensionNumbers(
            n.update_window_dims,
            n.inserted_window_dims,
            n.scatter_dims_to_operand_dims,
            n.operand_batching_dims,
            n.scatter_indices_batching_dims,
        )
        windows = iter(updates.shape[d] for d in n.update_window_dims)
        fixed = (*n.inserted_window_dims, *n.operand_batching_dims)
        sizes = [1 if d in fixed else next(windows) for d in range(x.ndim)]
        position, inside = _positions(x.shape, indices, gather, sizes, updates.shape)
        if "CLIP" in str(mode):
            inside[...] = True
        out = np.array(x).reshape(-1)
        write(out, position[inside], updates[inside])
        return out.reshape(x.shape)

    return run


def _assign(out: Array, position: Array, updates: Array) -> None:
    out[position] = updates


# -- all of them --------------------------------------------------------------------------------------------------


def _over_axes(function: Any) -> Callable[..., Any]:
    return lambda x, *, axes: function(x, axis=tuple(axes))


_SAME_NAME = [
    *["sin", "cos", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "square", "sign", "abs", "floor"],
    "add",
]
_OTHER_NAME = {
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "pow": np.power,
    "atan2": np.arctan2,
    "max": np.maximum,
    "min": np.minimum,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "copy": np.array,
    "eq": np.equal,
    "ne": np.not_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "not": np.invert,
    "is_finite": np.isfinite,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "logistic": scipy.special.expit,
    "add_any": np.add,
    "stop_gradient": lambda x: x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, *cases: np.where(which, cases[1], cases[0]) if len(cases) > 1 else cases[0],
}
COMPUTED: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _SAME_NAME},
    **_OTHER_NAME,
    "reduce_sum": _over_axes(np.sum),
    "reduce_max": _over_axes(np.max),
    "reduce_min": _over_axes(np.min),
    "reduce_prod": _over_axes(np.prod),
    "cumsum": _accumulated(np.cumsum),
    "cumprod": _accumulated(np.cumprod),
    "integer_pow": lambda x, *, y: x**y,
    "convert_element_type": lambda x, *, new_dtype: np.asarray(x, new_dtype),
    "broadcast_in_dim": _broadcast_in_dim,
    "iota": lambda *, dtype, shape, dimension: np.broadcast_to(
        np.arange(shape[dimension], dtype=dtype).reshape([-1 if d == dimension else 1 for d in range(len(shape))]),
        shape,
    ),
    "reshape": lambda x, *, new_sizes, dimensions=None: np.reshape(
        x if dimensions is None else np.transpose(x, dimensions), new_sizes
    ),
    "squeeze": lambda x, *, dimensions: np.squeeze(x, tuple(dimensions)),
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "rev": lambda x, *, dimensions: np.flip(x, tuple(dimensions)),
    "tile": lambda x, *, reps: np.tile(x, reps),
    "concatenate": lambda *xs, dimension: np.concatenate(xs, dimension),
    "stack": lambda *xs, axis: np.stack(xs, axis),
    "unstack": lambda x, *, axis: list(np.moveaxis(x, axis, 0)),
    "split": _split,
    "slice": lambda x, *, start_indices, limit_indices, strides=(): x[
        tuple(map(slice, start_indices, limit_indices, strides or (None,) * x.ndim))
    ],
    "pad": _pad,
    "dot_general": _dot_general,
    "sort": _sort,
    "gather": _gather,
    "scatter": _scattered(_assign),
    "scatter-add": _scattered(np.add.at),
}
"""What NumPy computes, by the primitive's name."""

_NO_MATTER = {
    *["accuracy", "precision", "preferred_element_type", "weak_type", "sharding", "out_sharding"],
    *["indices_are_sorted", "unique_indices", "update_jaxpr", "update_consts"],
}
"""What primitives are told that does not change their result in float64; None says nothing either."""


def evaluate(program: Any, *inputs: Any) -> list[Any]:
    """The results of a closed jaxpr, as ``jax.extend.core.jaxpr_as_fun(program)(*inputs)`` gives them."""
    with np.errstate(all="ignore"):
        return _run(program.jaxpr, program.consts, inputs)


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), map(np.asarray, (*consts, *inputs)), strict=True))

    def read(place: Any) -> Any:
        return np.asarray(place.val) if hasattr(place, "val") else known[place]

    for equation in jaxpr.eqns:
        known.update(zip(equation.outvars, _apply(equation, [read(place) for place in equation.invars]), strict=True))
    return [read(place) for place in jaxpr.outvars]


def _apply(equation: Any, values: list[Any]) -> Sequence[Any]:
    """The results of one primitive: of the program inside it, where there is one."""
    primitive, params = equation.primitive, equation.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if inner is not None:
        return _run(inner.jaxpr, inner.consts, values)
    if primitive.name not in COMPUTED:
        raise NotImplementedError(f"jax_by_numpy: JAX applied {primitive.name}; add it to COMPUTED.")
    told = {name: value for name, value in params.items() if value is not None and name not in _NO_MATTER}
    out = COMPUTED[primitive.name](*values, **told)
    return out if primitive.multiple_results else [out]
