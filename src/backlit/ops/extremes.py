"""The largest and the smallest: values, places, and how gradients are routed to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from . import arithmetic
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import LIBRARY, operand
from .reduction import Dims, axes, reduction_samples, settings, spread
from .selection import Pick, Selected, pick


class Extreme(Op):
    """Base of reductions whose result is one of the elements: those equal to it share the gradient evenly."""

    gate = "routes the upstream gradient to the selected element; equal ones share it"
    gradients: ClassVar = {"x": "routed(g); routed: to the entry that was selected, shared evenly by equal ones"}
    domain = "kink where two elements tie, where the slope is split evenly"
    samples = reduction_samples

    def vjp_x(ctx, g, x, out):
        chosen, count = _ties(ctx, x, out)
        return LIBRARY.where(chosen, spread(g / count, ctx.shapes[0], **ctx.params), 0.0)

    def jvp_x(ctx, t, x, out):
        chosen, count = _ties(ctx, x, out)
        return LIBRARY.where(chosen, t, 0.0).sum(**ctx.params) / count


def _ties(ctx: Any, x: Any, out: Any) -> tuple[Any, Any]:
    """Which elements equal the result (NaN where the result is NaN), and how many, in the element dtype."""
    chosen = (x == spread(out, ctx.shapes[0], **ctx.params)) | (x != x)
    return chosen, chosen.sum(**ctx.params).astype(x.dtype)


class AMax(Extreme):
    """The largest element over dimensions; NaN wins."""

    name = "amax"
    formula = "y = max x"

    def forward(x, *, axis, keepdims):
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


class AMin(Extreme):
    """The smallest element over dimensions; NaN wins."""

    name = "amin"
    formula = "y = min x"

    def forward(x, *, axis, keepdims):
        return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


class Max(AMax):
    """The largest of all elements."""

    name = "max"


class Min(AMin):
    """The smallest of all elements."""

    name = "min"


class MaxAlong(Pick):
    """The largest element along a dimension."""

    name = "max"
    formula = "y = maxⱼ xⱼ"
    gate = "routes the upstream gradient to the first largest element"
    gradients: ClassVar = {"x": "routed(g); routed: to the first largest entry"}


class MinAlong(Pick):
    """The smallest element along a dimension."""

    name = "min"
    formula = "y = minⱼ xⱼ"
    gate = "routes the upstream gradient to the first smallest element"
    gradients: ClassVar = {"x": "routed(g); routed: to the first smallest entry"}


def _one_dimension(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(rng.normal(size=(3, 4)))
    yield Sample(rng.normal(size=(2, 3, 4)), 1)
    yield Sample(rng.normal(size=(2, 3)), -1, keepdim=True)
    yield Sample(rng.normal(size=()), 0)


def _three_forms(rng: np.random.Generator) -> Iterable[Sample]:
    yield from _one_dimension(rng)
    yield Sample(rng.normal(size=(0, 3)), 1)
    yield Sample(rng.normal(size=(3, 4)), rng.normal(size=(4,)))


class ArgMax(Op):
    """Where the largest element is: the first of several; NaN counts as largest."""

    formula = "i = argmax x"
    gate = "blocks: an index does not vary smoothly"
    differentiable = False
    samples = _one_dimension

    def forward(x, *, axis, keepdims):
        return np.argmax(x, axis=axis, keepdims=keepdims)


class ArgMin(Op):
    """Where the smallest element is: the first of several; NaN counts as smallest."""

    formula = "i = argmin x"
    gate = ArgMax.gate
    differentiable = False
    samples = _one_dimension

    def forward(x, *, axis, keepdims):
        return np.argmin(x, axis=axis, keepdims=keepdims)


@operation(AMax)
def amax(x: Any, dim: Dims = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element of all or over ``dim`` (one or several). Elements that tie share the gradient evenly.

    Raises:
        OperationError: there is nothing to choose from.
    """
    x = operand(x)
    return apply(AMax, (x,), settings("amax", x, dim, keepdim, axis, keepdims))


@operation(AMin)
def amin(x: Any, dim: Dims = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest element of all or over ``dim`` (one or several). Elements that tie share the gradient evenly.

    Raises:
        OperationError: there is nothing to choose from.
    """
    x = operand(x)
    return apply(AMin, (x,), settings("amin", x, dim, keepdim, axis, keepdims))


@operation(ArgMax)
def argmax(
    x: Any, dim: int | None = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The index of the largest element along ``dim``, or in the flattened tensor; int64, the first of several."""
    x = operand(x)
    return apply(ArgMax, (x,), settings("argmax", x, dim, keepdim, axis, keepdims))


@operation(ArgMin)
def argmin(
    x: Any, dim: int | None = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The index of the smallest element along ``dim``, or in the flattened tensor; int64, the first of several."""
    x = operand(x)
    return apply(ArgMin, (x,), settings("argmin", x, dim, keepdim, axis, keepdims))


@operation(Max, samples=_three_forms)
def max(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None) -> Any:
    """The largest element, in PyTorch's three forms.

    - ``max(x)``: of the whole tensor. Elements that tie share the gradient evenly.
    - ``max(x, dim)``: along a dimension, as a named tuple ``(values, indices)``; the gradient goes to the index.
    - ``max(x, other)``: of two tensors, element by element, as :func:`maximum`.

    >>> import backlit as bl
    >>> bl.max(bl.tensor([[1.0, 3.0], [4.0, 2.0]]), dim=1).indices
    tensor([1, 0])
    """
    other = dim if isinstance(dim, (Tensor, np.ndarray)) else other
    if other is not None:
        return arithmetic.maximum(x, other)
    return _along(Max, MaxAlong, ArgMax, operand(x), dim if axis is None else axis, keepdim)


@operation(Min, samples=_three_forms)
def min(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: Any = None) -> Any:
    """The smallest element, in PyTorch's three forms, as :func:`max`."""
    other = dim if isinstance(dim, (Tensor, np.ndarray)) else other
    if other is not None:
        return arithmetic.minimum(x, other)
    return _along(Min, MinAlong, ArgMin, operand(x), dim if axis is None else axis, keepdim)


def _along(whole: type[Op], along: type[Pick], place: type[Op], x: Any, dim: Any, keepdim: bool) -> Tensor | Selected:
    if dim is None:
        return apply(whole, (x,), {"axis": None, "keepdims": False})
    axis: Any = axes(whole.name, x, dim)
    index = apply(place, (x,), {"axis": axis, "keepdims": keepdim})
    return pick(along, x, index, axis, keepdim)
