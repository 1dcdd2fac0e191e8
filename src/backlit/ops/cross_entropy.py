"""Cross-entropy of class scores: with class indices, with class probabilities, and from log-probabilities."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import LIBRARY, operand
from .labels import Labels, check_labels, check_weight, from_rows, positions, to_rows
from .pointwise import REDUCTIONS, reduction_of
from .reduction import floating, kept_shape
from .softmax import log_softmax, softmax

_KEPT = 1 << 18
"""Up to so many scores, exponentials are kept from forward to backward; above, memory counts for more than time."""


# -- class indices ------------------------------------------------------------------------------------------------


class CrossEntropy(Op):
    """Negative log-likelihood of the right classes under the softmax of the scores, in one operation."""

    name = "cross_entropy"
    formula = "L = −1/Σw Σₙ w_y ln softmax(xₙ)_y"
    gate = "softmax(x) − one-hot(y), weighted: what was predicted minus what was asked for"
    has_extra = True

    def forward(x, target, weight=None, *, reduction, ignore_index, smoothing):
        rows = to_rows(x)
        found = Labels("cross_entropy", target, rows.shape[1], weight, x.dtype, ignore_index)
        z, e, s = _exponentials(rows)
        log_s = np.log(s)
        losses = log_s - z[positions(len(rows)), found.labels]
        if found.share is not None:
            losses = found.only_valid(losses * found.share)
        if smoothing:
            losses = (1.0 - smoothing) * losses + smoothing / z.shape[1] * _uniform(z, log_s, weight, found)
        kept = (e, s) if e.size <= _KEPT else None
        return _reduce(losses, reduction, found.total, target.shape), (found, kept)

    def vjp_x(ctx, g, x, target, weight):
        if isinstance(g, Tensor):
            return _kept(ctx, g, x) * _slope(ctx, x, target, weight)
        found, kept = ctx.extra
        e, s = kept or _exponentials(to_rows(x))[1:]
        reduction, _, smoothing = ctx.params.values()
        g = g / found.total if reduction == "mean" else g.reshape(-1) if reduction == "none" else g
        if found.share is None and not smoothing:
            d = e * (g / s)[:, None]
            d[positions(len(d)), found.labels] -= g
        else:
            d = _weighted_rows(g, e, s, weight, found, smoothing)
        return d if x.ndim == 2 else from_rows(d, x.shape)

    def jvp_x(ctx, t, x, target, weight):
        products = (t * _slope(ctx, x, target, weight)).sum(axis=min(1, x.ndim - 1))
        return products if ctx.params["reduction"] == "none" else products.sum()

    def samples(rng):
        x, y = rng.normal(size=(4, 3)), rng.integers(0, 3, 4)
        weight = rng.uniform(0.5, 1.5, 3).astype(np.float32)
        for reduction in REDUCTIONS:
            yield Sample(x, y, reduction=reduction)
            yield Sample(x, y, weight, ignore_index=int(y[0]), reduction=reduction, label_smoothing=0.2)
        yield Sample(x, np.where(y == 1, -100, y))
        yield Sample(rng.normal(size=(2, 3, 2, 2)), rng.integers(0, 3, (2, 2, 2)), weight, label_smoothing=0.1)
        yield Sample(rng.normal(size=(2, 3, 2)), rng.integers(0, 3, (2, 2)), reduction="none")
        yield Sample(x[0], y[:1].reshape(()))
        probabilities = rng.dirichlet(np.ones(3), 4)
        for reduction in REDUCTIONS:
            yield Sample(x, probabilities, reduction=reduction)
        yield Sample(x, probabilities, weight, label_smoothing=0.2)
        yield Sample(rng.normal(size=(2, 3, 2)), rng.uniform(size=(2, 3, 2)), weight, reduction="none")
        yield Sample(x[0], probabilities[0])


def _exponentials(rows: Any) -> tuple[Any, Any, Any]:
    """For rows of scores: the scores below their largest, their exponentials, and the exponentials' sums."""
    z = rows - np.maximum.reduce(rows, axis=1, keepdims=True)
    e = np.exp(z)
    return z, e, np.dot(e, _ones(e.shape[1], e.dtype))


@lru_cache(maxsize=8)
def _ones(n: int, dtype: Any) -> Any:
    """Rows are summed as a product with ones, which BLAS does faster than NumPy reduces short rows."""
    return np.ones(n, dtype)


def _uniform(z: Any, log_s: Any, weight: Any, found: Labels) -> Any:
    """Σ_c −w_c ln softmax_c for each row: what label smoothing adds."""
    if weight is None:
        return found.only_valid(log_s * z.shape[1] - z.sum(axis=1))
    return found.only_valid(log_s * weight.sum() - z @ weight)


def _weighted_rows(g: Any, e: Any, s: Any, weight: Any, found: Labels, smoothing: float) -> Any:
    """The gradient of weighted, partly ignored or smoothed rows: p Σq − q, where q is what each row asks for."""
    here = positions(len(e)), found.labels
    right = g * (1.0 - smoothing) if found.share is None else g * found.share * (1.0 - smoothing)
    if smoothing:
        each = found.only_valid(np.broadcast_to(g * (smoothing / e.shape[1]), s.shape))
        total = right + each * (e.shape[1] if weight is None else weight.sum())
        d = e * (total / s)[:, None]
        d -= each[:, None] if weight is None else np.multiply.outer(each, weight)
    else:
        d = e * (right / s)[:, None]
    d[here] -= right
    if found.valid is not None:
        d[~found.valid] = 0.0
    return d


def _slope(ctx: Any, x: Any, target: Any, weight: Any) -> Any:
    """The derivative of the loss (of each position's loss, unreduced) by the scores, recorded."""
    reduction, ignore_index, smoothing = ctx.params.values()
    q = constant(_asked(x, getattr(target, "_data", target), getattr(weight, "_data", weight), ignore_index, smoothing))
    axis = min(1, x.ndim - 1)
    slope = softmax(x, axis) * q.sum(axis=axis, keepdims=True) - q
    return slope / ctx.extra[0].total if reduction == "mean" else slope


def _asked(x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float) -> Any:
    """The weight that each position gives to each class's −ln p, in the shape of the scores."""
    classes = x.shape[min(1, x.ndim - 1)]
    found = Labels("cross_entropy", target, classes, weight, x.dtype, ignore_index)
    q = np.zeros((len(found.labels), classes), x.dtype)
    if smoothing:
        q += smoothing / classes if weight is None else weight * (smoothing / classes)
    q[positions(len(q)), found.labels] += (1.0 - smoothing) * (1.0 if found.share is None else found.share)
    if found.valid is not None:
        q[~found.valid] = 0.0
    return from_rows(q, x.shape)


def _kept(ctx: Any, g: Any, x: Any) -> Any:
    """The upstream gradient ready to be spread over classes."""
    return g if ctx.params["reduction"] != "none" else g.reshape(kept_shape(x.shape, min(1, x.ndim - 1)))


def _reduce(losses: Any, reduction: str, total: Any, shape: tuple[int, ...]) -> Any:
    if reduction == "none":
        return losses.reshape(shape)
    loss = np.add.reduce(losses)
    return loss if reduction == "sum" else loss / (total or math.nan)


# -- class probabilities ------------------------------------------------------------------------------------------


class SoftCrossEntropy(Op):
    """Cross-entropy of the scores' softmax with a distribution for each position."""

    name = "cross_entropy"
    formula = "L = −1/N Σₙ Σ_c w_c t_nc ln softmax(xₙ)_c"
    gate = "softmax(x) Σt − t, weighted: what was predicted minus what was asked for"
    has_extra = True

    def forward(x, target, weight=None, *, reduction, smoothing):
        axis = min(1, x.ndim - 1)
        logs = log_softmax(x, axis)
        losses = -(logs * _mixed(x, target, weight, smoothing)).sum(axis=axis)
        kept = logs if x.size <= _KEPT else None
        if reduction == "none":
            return losses, kept
        loss = np.add.reduce(losses, axis=None)
        return loss if reduction == "sum" else loss / (losses.size or math.nan), kept

    def vjp_x(ctx, g, x, target, weight):
        return _spread_over_classes(ctx, g, x) * _soft_slope(ctx, x, target, weight)

    def vjp_target(ctx, g, x, weight):
        return _spread_over_classes(ctx, g, x) * _target_slope(ctx, x, weight)

    def jvp_x(ctx, t, x, target, weight):
        return _sum_over_classes(ctx, t * _soft_slope(ctx, x, target, weight), x)

    def jvp_target(ctx, t, x, weight):
        return _sum_over_classes(ctx, t * _target_slope(ctx, x, weight), x)


def _mixed(x: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """What is asked for: the target, mixed with the uniform distribution, times the class weights."""
    axis = min(1, x.ndim - 1)
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[axis]
    return target if weight is None else target * _by_class(x, weight)


def _by_class(x: Any, weight: Any) -> Any:
    return weight.reshape((-1, *[1] * (x.ndim - 2)))


def _logs(ctx: Any, x: Any) -> Any:
    if isinstance(x, Tensor) or ctx.extra is None:
        return log_softmax(x, min(1, x.ndim - 1))
    return ctx.extra


def _soft_slope(ctx: Any, x: Any, target: Any, weight: Any) -> Any:
    q = _mixed(x, target, weight, ctx.params["smoothing"])
    return LIBRARY.exp(_logs(ctx, x)) * q.sum(axis=min(1, x.ndim - 1), keepdims=True) - q


def _target_slope(ctx: Any, x: Any, weight: Any) -> Any:
    slope = _logs(ctx, x) * (ctx.params["smoothing"] - 1.0)
    return slope if weight is None else slope * _by_class(x, weight)


def _count(x: Any) -> int:
    """How many distributions there are."""
    return math.prod(x.shape) // max(1, x.shape[min(1, x.ndim - 1)])


def _spread_over_classes(ctx: Any, g: Any, x: Any) -> Any:
    return g / (_count(x) or math.nan) if ctx.params["reduction"] == "mean" else _kept(ctx, g, x)


def _sum_over_classes(ctx: Any, products: Any, x: Any) -> Any:
    if ctx.params["reduction"] == "none":
        return products.sum(axis=min(1, x.ndim - 1))
    total = products.sum()
    return total / (_count(x) or math.nan) if ctx.params["reduction"] == "mean" else total


# -- log-probabilities --------------------------------------------------------------------------------------------


class NLLLoss(Op):
    """Minus the log-probability of the right class."""

    name = "nll_loss"
    formula = "L = −1/Σw Σₙ w_y xₙ_y"
    gate = "routes −w_y/Σw to the right class's entry, nothing to the rest"

    def forward(x, target, weight=None, *, reduction, ignore_index):
        rows = to_rows(x)
        found = Labels("nll_loss", target, rows.shape[1], weight, x.dtype, ignore_index)
        losses = -rows[positions(len(rows)), found.labels]
        if found.share is not None:
            losses = found.only_valid(losses * found.share)
        return _reduce(losses, reduction, found.total, target.shape)

    def vjp_x(ctx, g, target, weight):
        reduction, ignore_index = ctx.params.values()
        shape = ctx.shapes[0]
        classes = shape[min(1, len(shape) - 1)]
        plain = getattr(target, "_data", target), getattr(weight, "_data", weight)
        found = Labels("nll_loss", plain[0], classes, plain[1], g.dtype, ignore_index)
        entries = -np.ones(len(found.labels), g.dtype) if found.share is None else -found.share
        if reduction == "mean":
            entries /= found.total or math.nan
        d = np.zeros((len(entries), classes), g.dtype)
        if isinstance(g, Tensor):
            d[positions(len(d)), found.labels] = entries
            if reduction == "none":
                g = g.reshape(kept_shape(shape, min(1, len(shape) - 1)))
            return g * constant(from_rows(d, shape))
        d[positions(len(d)), found.labels] = entries * (g.reshape(-1) if reduction == "none" else g)
        return from_rows(d, shape)

    def samples(rng):
        x, y = np.log(rng.dirichlet(np.ones(3), 4)), rng.integers(0, 3, 4)
        weight = rng.uniform(0.5, 1.5, 3).astype(np.float32)
        for reduction in REDUCTIONS:
            yield Sample(x, y, reduction=reduction)
            yield Sample(x, np.where(y == 1, -100, y), weight, reduction=reduction)
        yield Sample(rng.normal(size=(2, 3, 2)), rng.integers(0, 3, (2, 2)), weight)
        yield Sample(rng.normal(size=(2, 3, 2)), rng.integers(0, 3, (2, 2)), reduction="none")
        yield Sample(x[0], y[:1].reshape(()))


# -- functions ----------------------------------------------------------------------------------------------------


@operation(CrossEntropy)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of class scores (logits): softmax, logarithm and negative log-likelihood in one, without overflow.

    Args:
        input: scores of shape (N, C), (N, C, d₁, …) or (C,).
        target: class indices, integers of shape (N,), (N, d₁, …) or (); or class probabilities, floating, in the shape
            of ``input``.
        weight: a factor for each class, shape (C,). The mean over class indices is divided by their weights.
        ignore_index: a class index that marks positions to leave out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one loss for each position).
        label_smoothing: how much of each target, from 0 to 1, is spread evenly over all classes (Szegedy et al. 2016).

    Raises:
        OperationError: shapes or dtypes that do not fit, or a class index out of range.

    >>> import backlit as bl
    >>> bl.cross_entropy(bl.tensor([[2.0, 0.0], [0.0, 0.0]]), bl.tensor([0, 1]))
    tensor(0.4100)
    """
    x = input if getattr(input, "dtype", None) is not None else operand(input)
    if x.dtype.kind != "f":
        x = floating("cross_entropy", x)
    target = target if hasattr(target, "dtype") else operand(target)
    reduction = reduction_of("cross_entropy", reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OperationError(
            f"cross_entropy at {describe(mark())}: label_smoothing={label_smoothing} is not in [0, 1]."
        )
    soft = target.dtype.kind == "f" and target.shape == x.shape and x.ndim > 0
    if not soft:
        check_labels("cross_entropy", x, target)
    elif target.dtype != x.dtype:
        target = target.astype(x.dtype)
    inputs = (x, target) if weight is None else (x, target, check_weight("cross_entropy", x, weight))
    params: dict[str, Any] = {"reduction": reduction}
    if soft:
        return apply(SoftCrossEntropy, inputs, {**params, "smoothing": float(label_smoothing)})
    return apply(CrossEntropy, inputs, {**params, "ignore_index": ignore_index, "smoothing": float(label_smoothing)})


@operation(NLLLoss)
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of class indices, from log-probabilities such as :func:`log_softmax` gives.

    Shapes, ``weight`` and ``ignore_index`` are as for :func:`cross_entropy`.

    Raises:
        OperationError: shapes or dtypes that do not fit, or a class index out of range.
    """
    x, target = floating("nll_loss", input), operand(target)
    check_labels("nll_loss", x, target)
    inputs = (x, target) if weight is None else (x, target, check_weight("nll_loss", x, weight))
    params = {"reduction": reduction_of("nll_loss", reduction, size_average, reduce), "ignore_index": ignore_index}
    return apply(NLLLoss, inputs, params)
