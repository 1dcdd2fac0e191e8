"""Losses that ask for a margin: hinges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import LIBRARY, NUMPY, operand
from .labels import Labels, check_labels, check_weight, from_rows, positions, to_rows
from .pointwise import REDUCTIONS, Pointwise, pair, reduced, reduction_of, shared
from .reduction import floating


class Hinge(Pointwise):
    """How far scores fall short of the margin on their target's side."""

    name = "hinge_loss"
    formula = "L = 1/n Σ max(0, margin − t x)"
    gate = "routes −t/n to the scores inside the margin, nothing to the rest"
    domain = "kink where t x equals the margin; the slope −t is used there, as PyTorch does"

    def value(s, x, target, *, margin):
        return s.maximum(margin - target * x, 0.0)

    def pull_x(s, g, x, target, *, margin):
        return s.where(target * x > margin, 0.0, g * -target)

    def pull_target(s, g, x, target, *, margin):
        return s.where(target * x > margin, 0.0, g * -x)

    @classmethod
    def samples(cls, rng):
        for reduction in REDUCTIONS:
            yield Sample(rng.normal(size=(3, 4)) * 2.0, _signs(rng, 3, 4), reduction=reduction)
        yield Sample(rng.normal(size=()), _signs(rng))


class HingeEmbedding(Pointwise):
    """The distance itself for similar pairs (1), what it lacks to the margin for dissimilar ones (−1)."""

    name = "hinge_embedding_loss"
    formula = "L = 1/n Σ (x if t = 1 else max(0, margin − x))"
    gate = "routes: passes where t = 1, changes the sign where t = −1 and x is inside the margin"
    domain = "kink at x = margin where t = −1"

    has_extra = True

    def value(s, x, target, *, margin):
        far = s.where(target != 1, s.maximum(margin - x, 0.0), 0.0)
        return far + s.where(target != -1, x, 0.0)

    def forward(x, target, *, reduction, margin):
        routes = target != -1, (target != 1) & (x <= margin)
        return reduced(HingeEmbedding.value(NUMPY, x, target, margin=margin), reduction), routes

    def vjp_x(ctx, g):
        return _routed(shared(ctx, g), *ctx.extra)

    def jvp_x(ctx, t):
        return reduced(_routed(t, *ctx.extra), ctx.params["reduction"])

    def vjp_target(ctx, g):
        zeros = np.zeros(ctx.shapes[1], g.dtype)  # a choice of two losses: nothing to vary
        return constant(zeros) if isinstance(g, Tensor) else zeros

    def jvp_target(ctx, t):
        return reduced(t * 0.0, ctx.params["reduction"])

    @classmethod
    def samples(cls, rng):
        for reduction in REDUCTIONS:
            yield Sample(rng.uniform(0.1, 0.9, size=(3, 4)), _signs(rng, 3, 4), reduction=reduction)
        yield Sample(rng.uniform(1.1, 1.9, size=(4,)), -np.ones(4, np.float32), 1.5)


def _routed(g: Any, near: Any, far: Any) -> Any:
    """``g`` where near, less ``g`` where far."""
    s = LIBRARY if isinstance(g, Tensor) else NUMPY
    return s.where(near, g, 0.0) + s.where(far, -g, 0.0)


def _signs(rng: np.random.Generator, *shape: int) -> Any:
    return np.where(rng.random(shape) < 0.5, -1, 1)


class MultiMargin(Op):
    """How far the right class's score falls short of beating each other class by the margin."""

    name = "multi_margin_loss"
    formula = "Lₙ = 1/C Σ_{j≠y} w_y max(0, margin − x_y + xⱼ)^p"
    gate = "routes: each class inside the margin gets its slope, the right class minus their sum"
    domain = "kink where a class is exactly a margin below the right one, where the slope 0 is used"

    def forward(x, target, weight=None, *, p, margin, reduction):
        gaps, labels, share = _gaps(x, target, weight, margin)
        np.maximum(gaps, 0.0, out=gaps)
        gaps[positions(len(labels)), labels] = 0.0
        losses = (gaps if p == 1 else gaps * gaps).sum(axis=1) / gaps.shape[1]
        return reduced((losses if share is None else losses * share).reshape(target.shape), reduction)

    def vjp_x(ctx, g, x, target, weight):
        slope = _multi_margin_slope(ctx, x, target, weight)
        if ctx.params["reduction"] == "none":
            g = g.reshape((*ctx.shape, 1))
        elif ctx.params["reduction"] == "mean":
            g = g / (math.prod(ctx.shapes[1]) or math.nan)
        return g * slope

    def jvp_x(ctx, t, x, target, weight):
        return reduced((t * _multi_margin_slope(ctx, x, target, weight)).sum(axis=-1), ctx.params["reduction"])

    def samples(rng):
        x, y = rng.normal(size=(4, 3)), rng.integers(0, 3, 4)
        for reduction in REDUCTIONS:
            yield Sample(x, y, reduction=reduction)
        yield Sample(x, y, 2, 0.5, rng.uniform(0.5, 1.5, 3).astype(np.float32))
        yield Sample(x[0], y[0:1].reshape(()), 2)


def _gaps(x: Any, target: Any, weight: Any, margin: float) -> tuple[Any, Any, Any]:
    """``margin − x_y + xⱼ`` for rows of scores, the labels, and the weight of each row's label."""
    rows = to_rows(x)
    found = Labels("multi_margin_loss", target, rows.shape[1], weight, x.dtype)
    right = rows[positions(len(rows)), found.labels]
    return rows - right[:, None] + margin, found.labels, found.share


def _multi_margin_slope(ctx: Any, x: Any, target: Any, weight: Any) -> Any:
    """The derivative of each row's loss by its scores, in the shape of ``x``."""
    plain, p = getattr(x, "_data", x), ctx.params["p"]
    gaps, labels, share = _gaps(
        plain, getattr(target, "_data", target), getattr(weight, "_data", weight), ctx.params["margin"]
    )
    here = positions(len(labels)), labels
    factor = np.full(gaps.shape, 1.0 / gaps.shape[1], gaps.dtype) if share is None else share[:, None] / gaps.shape[1]
    inside = np.where(gaps > 0, factor, gaps * 0)
    inside[here] = 0.0
    if p == 1:
        inside[here] = -inside.sum(axis=1)
        slope = from_rows(inside, x.shape)
        return constant(slope) if isinstance(x, Tensor) else slope
    if not isinstance(x, Tensor):
        inside *= 2.0 * gaps
        inside[here] = -inside.sum(axis=1)
        return from_rows(inside, x.shape)
    right = np.zeros(gaps.shape, bool)
    right[here] = True
    chosen, doubled = constant(from_rows(right, x.shape)), constant(from_rows(2.0 * inside, x.shape))
    others = (x - LIBRARY.where(chosen, x, 0.0).sum(axis=-1, keepdims=True) + ctx.params["margin"]) * doubled
    return LIBRARY.where(chosen, -others.sum(axis=-1, keepdims=True), others)


@operation(Hinge)
def hinge_loss(input: Any, target: Any, reduction: str = "mean", margin: float = 1.0) -> Tensor:
    """The max-margin loss ``max(0, margin − target · input)`` of scores, for targets −1 and 1.

    Raises:
        OperationError: the shapes differ, or a target is neither −1 nor 1.

    >>> import backlit as bl
    >>> bl.hinge_loss(bl.tensor([2.0, 0.5, 0.5]), bl.tensor([1, 1, -1]))
    tensor(0.6667)
    """
    x, target = pair("hinge_loss", input, target)
    _check_signs("hinge_loss", getattr(target, "_data", target))
    return apply(Hinge, (x, target), {"margin": float(margin), "reduction": reduction_of("hinge_loss", reduction)})


def _check_signs(name: str, target: Any) -> None:
    wrong = target[(np.abs(target) != 1) & (target == target)]
    if wrong.size:
        raise OperationError(
            f"{name} at {describe(mark())}: targets are −1 or 1, but {float(wrong.flat[0]):g} is among them. "
            "Turn 0/1 labels into signs with 2 * target - 1."
        )


@operation(
    formula="L = 1/n Σ max(0, margin − t (x₁ − x₂))",
    gate="routes −t/n and t/n to the pairs inside the margin",
    samples=lambda rng: [
        Sample(rng.normal(size=(5,)), rng.normal(size=(5,)), _signs(rng, 5), margin=0.5),
        Sample(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), _signs(rng, 3, 2), reduction="none"),
    ],
)
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, margin − target (input1 − input2))``: target 1 asks that the first ranks higher, −1 that it ranks lower.

    Raises:
        OperationError: the shapes differ.
    """
    name = "margin_ranking_loss"
    higher, lower = pair(name, input1, input2)
    x, target = pair(name, higher - lower, target)
    params = {"margin": float(margin), "reduction": reduction_of(name, reduction, size_average, reduce)}
    return apply(Hinge, (x, target), params)


@operation(HingeEmbedding)
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """For distances of pairs: the distance where the target is 1, ``max(0, margin − distance)`` where it is −1.

    Raises:
        OperationError: the shapes differ.
    """
    name = "hinge_embedding_loss"
    params = {"margin": float(margin), "reduction": reduction_of(name, reduction, size_average, reduce)}
    return apply(HingeEmbedding, pair(name, input, target), params)


@operation(MultiMargin)
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The multi-class max-margin (SVM) loss ``1/C Σ_{j≠y} max(0, margin − x_y + xⱼ)^p`` of class scores.

    Courses often leave out the division by the number of classes C (Weston & Watkins 1999): multiply by C for that.

    Args:
        input: scores, shape (N, C) or (C,).
        target: class indices, shape (N,) or ().
        p: 1, or 2 for squared hinges.
        weight: a factor for each class, shape (C,).

    Raises:
        OperationError: shapes that do not fit, class indices out of range, or another ``p``.
    """
    name = "multi_margin_loss"
    x, target = floating(name, input), operand(target)
    if p not in (1, 2):
        raise OperationError(f"{name} at {describe(mark())}: p={p!r}; only 1 and 2 are defined.")
    if x.ndim > 2:
        raise OperationError(f"{name} at {describe(mark())}: scores have shape (N, C) or (C,), not {tuple(x.shape)}.")
    x = x if x.ndim else x.reshape((1,))
    target = target.reshape(()) if x.ndim == 1 and target.shape == (1,) else target
    check_labels(name, x, target)
    params = {"p": p, "margin": float(margin), "reduction": reduction_of(name, reduction, size_average, reduce)}
    inputs = (x, target) if weight is None else (x, target, check_weight(name, x, weight))
    return apply(MultiMargin, inputs, params)
