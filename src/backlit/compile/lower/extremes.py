"""The largest and the smallest: values, places, and gradients routed to those that tie."""

from __future__ import annotations

from typing import Any

from ...ops.extremes import AMax, AMin, ArgMax, ArgMin, Extreme
from ...ops.reduction import All_, Any_, CountNonzero, Prod
from ..ir.build import Builder
from ..ir.program import Value
from .joining import joined
from .shape import along
from .table import lowering, pulls

Params = dict[str, Any]


def _folded(b: Builder, kind: str, x: Value, params: Params, like: Value) -> Value | None:
    return b.reduce(kind, x, params["axis"], params.get("keepdims", False)) if x.size else None


@lowering(AMax)
def largest(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The largest element."""
    return _folded(b, "max", inputs[0], params, like)


@lowering(AMin)
def smallest(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The smallest element."""
    return _folded(b, "min", inputs[0], params, like)


@lowering(Prod)
def product(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """The product."""
    return _folded(b, "prod", b.cast(inputs[0], like.dtype), params, like)


@pulls(Prod)
def product_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """For each element the product of the others: by division where that is exact, else by a tree of products."""
    (x,), axis, out = pull.inputs, pull.params["axis"], pull.out
    if not x.size or x.dtype != out.dtype:
        return None
    shape = kept(x.shape, axis)
    unsafe = b.elementwise(
        "or", b.elementwise("eq", out, 0.0), b.elementwise("ne", b.elementwise("sub", out, out), 0.0)
    )
    exact = b.elementwise("eq", b.reduce("sum", b.cast(unsafe, x.dtype)), 0.0)
    quotient = b.elementwise("div", b.reshape(out, shape), x)
    if axis is None:
        tree = b.reshape(_products_of_others(b, b.reshape(x, (x.size,)), 0), x.shape)
    else:
        tree = _products_of_others(b, x, axis % x.ndim)
    others = b.elementwise("where", exact, quotient, tree)
    return [b.elementwise("gated", b.reshape(pull.g, shape), others)]


def _products_of_others(b: Builder, x: Value, axis: int) -> Value:
    """Without division, in pairs: what remains without one of a pair is what remains without both, times the other."""
    size = x.shape[axis]
    if size < 2:
        return b.expand(b.constant(1, x.dtype), x.shape)
    half = size // 2
    left, right = along(b, x, axis, 0, 1, half), along(b, x, axis, half, 1, half)
    odd = along(b, x, axis, 2 * half, 1, size - 2 * half)
    outside = _products_of_others(b, joined(b, [b.elementwise("mul", left, right), odd], axis), axis)
    pairs, rest = along(b, outside, axis, 0, 1, half), along(b, outside, axis, half, 1, size - 2 * half)
    return joined(b, [b.elementwise("mul", pairs, right), b.elementwise("mul", pairs, left), rest], axis)


def kept(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape of a reduction that keeps its dimensions."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    over = {a % len(shape) for a in axes} if shape else set()
    return tuple(1 if d in over else n for d, n in enumerate(shape))


@pulls(Extreme)
def extreme_pull(b: Builder, pull: Any) -> list[Value | None] | None:
    """Elements equal to the result, or NaN, share its gradient evenly."""
    (x,), axis = pull.inputs, pull.params["axis"]
    if not x.size:
        return None
    shape = kept(x.shape, axis)
    equal = b.elementwise("eq", x, b.reshape(pull.out, shape))
    chosen = b.elementwise("or", equal, b.elementwise("ne", x, x))
    count = b.reduce("sum", b.cast(chosen, x.dtype), axis, True)
    share = b.elementwise("div", b.reshape(pull.g, shape), count)
    return [b.elementwise("where", chosen, share, 0.0)]


def _place(kind: str) -> Any:
    def place(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
        """The first place of the extreme; the first NaN where there is one."""
        x, axis = inputs[0], params["axis"]
        if not x.size:
            return None
        if axis is None:
            x, axis = b.reshape(x, (x.size,)), 0
        if not x.ndim:
            x, axis = b.reshape(x, (1,)), 0
        axis %= x.ndim
        found = b.elementwise("eq", x, b.reduce(kind, x, axis, True))
        found = b.elementwise("or", found, b.elementwise("ne", x, x))
        places = b.reshape(b.iota(x.shape[axis]), tuple(-1 if d == axis else 1 for d in range(x.ndim)))
        first = b.reduce("min", b.elementwise("where", found, places, x.shape[axis]), axis, True)
        return b.reshape(first, like.shape)

    return place


lowering(ArgMax)(_place("max"))
lowering(ArgMin)(_place("min"))


def _true_ones(b: Builder, x: Value, axis: Any, like: Value) -> Value:
    """How many elements are true, in the shape of ``like``."""
    true = x if x.kind == "b" else b.elementwise("ne", x, 0)
    return b.reshape(b.reduce("sum", b.cast(true, "int64"), axis, True), like.shape)


@lowering(Any_)
def any_true(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Whether one is true."""
    (x,) = inputs
    return b.elementwise("ne", _true_ones(b, x, params["axis"], like), 0) if x.size else None


@lowering(All_)
def all_true(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """Whether as many are true as there are."""
    (x,) = inputs
    if not x.size:
        return None
    return b.elementwise("eq", _true_ones(b, x, params["axis"], like), x.size // max(like.size, 1))


@lowering(CountNonzero)
def count_nonzero(b: Builder, inputs: list[Any], params: Params, op: Any, like: Value) -> Value | None:
    """How many are not zero."""
    return _true_ones(b, inputs[0], params["axis"], like) if inputs[0].size and like.dtype == "int64" else None
