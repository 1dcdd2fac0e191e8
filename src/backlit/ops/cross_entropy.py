"""Cross-entropy of class scores with class indices, and negative log-likelihood of log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import operand
from .labels import Labels, check_labels, check_weight, class_axis, from_rows, over_classes, positions, to_rows
from .pointwise import REDUCTIONS, reduction_of
from .reduction import floating, kept_shape
from .soft_cross_entropy import SoftCrossEntropy
from .softmax import softmax

_KEPT = 1 << 18
"""Up to so many scores, exponentials are kept from forward to backward; above, memory counts for more than time."""

_BLOCK = 1 << 16
"""Above that, rows are worked through in blocks of so many scores, which stay in the cache."""


# -- from scores --------------------------------------------------------------------------------------------------


class CrossEntropy(Op):
    """Negative log-likelihood of the right classes under the softmax of the scores, in one operation."""

    name = "cross_entropy"
    formula = "L = −1/Σw Σₙ w_y ln softmax(xₙ)_y"
    gate = "softmax(x) − one-hot(y), weighted: what was predicted minus what was asked for"
    has_extra = True

    def forward(x, target, weight=None, *, reduction, ignore_index, smoothing):
        rows = to_rows(x)
        found = Labels("cross_entropy", target, rows.shape[1], weight, x.dtype, ignore_index)
        losses, uniform, kept = (_whole if rows.size <= _KEPT else _by_blocks)(rows, found.labels, smoothing, weight)
        if found.share is not None:
            losses = found.only_valid(losses * found.share)
        if smoothing:
            losses = (1.0 - smoothing) * losses + smoothing / rows.shape[1] * found.only_valid(uniform)
        return _reduce(losses, reduction, found.total, target.shape), (found, kept)

    def vjp_x(ctx, g, x, target, weight):
        if isinstance(g, Tensor):
            return over_classes(ctx, g, x) * _slope(ctx, x, target, weight)
        found, kept = ctx.extra
        reduction, _, smoothing = ctx.params.values()
        g = g / found.total if reduction == "mean" else g.reshape(-1) if reduction == "none" else g
        if found.share is None and not smoothing:
            d = kept.softmax_times(g, x)
            d[positions(len(d)), found.labels] -= g
        else:
            d = _weighted_rows(g, kept, x, weight, found, smoothing)
        return d if x.ndim == 2 else from_rows(d, x.shape)

    def jvp_x(ctx, t, x, target, weight):
        products = (t * _slope(ctx, x, target, weight)).sum(axis=class_axis(x))
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


class _Exponentials:
    """Exponentials ``e`` of rows of scores relative to the largest, ``top``; their sums ``s`` and the logarithm."""

    __slots__ = ("e", "log_s", "s", "top")

    def __init__(self, top: Any, e: Any, s: Any) -> None:
        self.top, self.e, self.s, self.log_s = top, e, s, np.log(s)

    def softmax_times(self, factor: Any, x: Any) -> Any:
        """The softmax of each row times its factor (or times one factor for all)."""
        return self.e * (factor / self.s)[:, None]


class _Levels:
    """For rows too many to keep: the largest score of each and the logarithm of its sum of exponentials."""

    __slots__ = ("log_s", "top")

    def __init__(self, top: Any, log_s: Any) -> None:
        self.top = top
        self.log_s = log_s

    def softmax_times(self, factor: Any, x: Any) -> Any:
        """The softmax of each row of ``x`` times its factor (or times one factor for all)."""
        rows = to_rows(x)
        factor = np.broadcast_to(factor, self.log_s.shape)[:, None]
        out = np.empty(rows.shape, rows.dtype)
        for block in _blocks(rows):
            part = np.subtract(rows[block], self.top[block, None], out=out[block])
            part -= self.log_s[block, None]
            np.exp(part, out=part)
            part *= factor[block]
        return out


def _whole(rows: Any, labels: Any, smoothing: float, weight: Any) -> tuple[Any, Any, _Exponentials]:
    """−ln p of each row's class, Σ_c −w_c ln p_c (None without smoothing), and the exponentials."""
    top = np.maximum.reduce(rows, axis=1, keepdims=True)
    z = rows - top
    right = z[positions(len(z)), labels]
    together = None if not smoothing else z.sum(axis=1) if weight is None else z @ weight
    e = np.exp(z, out=z)
    kept = _Exponentials(top, e, np.dot(e, _ones(e.shape[1], e.dtype)))
    if smoothing:
        together = kept.log_s * (e.shape[1] if weight is None else weight.sum()) - together
    return kept.log_s - right, together, kept


def _by_blocks(rows: Any, labels: Any, smoothing: float, weight: Any) -> tuple[Any, Any, _Levels]:
    """As :func:`_whole`, without an array of the size of ``rows``."""
    losses, uniform, top, log_s = np.empty((4, len(rows)), rows.dtype)
    for block in _blocks(rows):
        losses[block], together, kept = _whole(rows[block], labels[block], smoothing, weight)
        top[block], log_s[block] = kept.top[:, 0], kept.log_s
        if smoothing:
            uniform[block] = together
    return losses, uniform, _Levels(top, log_s)


def _blocks(rows: Any) -> Iterable[slice]:
    step = max(1, _BLOCK // rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))


@lru_cache(maxsize=8)
def _ones(n: int, dtype: Any) -> Any:
    """Rows are summed as a product with ones, which BLAS does faster than NumPy reduces short rows."""
    return np.ones(n, dtype)


def _weighted_rows(g: Any, kept: Any, x: Any, weight: Any, found: Labels, smoothing: float) -> Any:
    """The gradient of weighted, partly ignored or smoothed rows: p Σq − q, where q is what each row asks for."""
    right = g * (1.0 - smoothing) if found.share is None else g * found.share * (1.0 - smoothing)
    if smoothing:
        classes = x.shape[class_axis(x)]
        each = found.only_valid(np.broadcast_to(g * (smoothing / classes), found.labels.shape))
        d = kept.softmax_times(right + each * (classes if weight is None else weight.sum()), x)
        d -= each[:, None] if weight is None else np.multiply.outer(each, weight)
    else:
        d = kept.softmax_times(right, x)
    d[positions(len(d)), found.labels] -= right
    if found.valid is not None:
        d[~found.valid] = 0.0
    return d


def _slope(ctx: Any, x: Any, target: Any, weight: Any) -> Any:
    """The derivative of the loss (of each position's loss, unreduced) by the scores, recorded."""
    reduction, ignore_index, smoothing = ctx.params.values()
    q = constant(_asked(x, getattr(target, "_data", target), getattr(weight, "_data", weight), ignore_index, smoothing))
    axis = class_axis(x)
    slope = softmax(x, axis) * q.sum(axis=axis, keepdims=True) - q
    return slope / ctx.extra[0].total if reduction == "mean" else slope


def _asked(x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float) -> Any:
    """The weight that each position gives to each class's −ln p, in the shape of the scores."""
    classes = x.shape[class_axis(x)]
    found = Labels("cross_entropy", target, classes, weight, x.dtype, ignore_index)
    q = np.zeros((len(found.labels), classes), x.dtype)
    if smoothing:
        q += smoothing / classes if weight is None else weight * (smoothing / classes)
    q[positions(len(q)), found.labels] += (1.0 - smoothing) * (1.0 if found.share is None else found.share)
    if found.valid is not None:
        q[~found.valid] = 0.0
    return from_rows(q, x.shape)


def _reduce(losses: Any, reduction: str, total: Any, shape: tuple[int, ...]) -> Any:
    if reduction == "none":
        return losses.reshape(shape)
    loss = np.add.reduce(losses)
    return loss if reduction == "sum" else loss / (total or math.nan)


# -- from log-probabilities ---------------------------------------------------------------------------------------


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
        axis = 1 if len(shape) > 1 else 0
        plain = getattr(target, "_data", target), getattr(weight, "_data", weight)
        found = Labels("nll_loss", plain[0], shape[axis], plain[1], g.dtype, ignore_index)
        entries = -np.ones(len(found.labels), g.dtype) if found.share is None else -found.share
        if reduction == "mean" and found.total:
            entries /= found.total
        d = np.zeros((len(entries), shape[axis]), g.dtype)
        if isinstance(g, Tensor):
            d[positions(len(d)), found.labels] = entries
            if reduction == "none":
                g = g.reshape(kept_shape(shape, axis))
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
    tensor(0.41)
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
