"""Cross-entropy of class scores with class indices, and negative log-likelihood of log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import NOTHING, Intermediate, Op, Sample, Tensor, apply, constant, operation, restored
from .elementwise import operand
from .labels import Labels, check_labels, check_weight, class_axis, from_rows, over_classes, positions, to_rows
from .pointwise import REDUCTIONS, reduction_of
from .reduction import floating, kept_shape
from .soft_cross_entropy import SoftCrossEntropy
from .softmax import softmax
from .transcendental import Exp

_KEPT = 1 << 18
"""Of up to so many scores the exponentials are kept; of more the scores, which saves going through new memory."""

_SMOOTHED = "one-hot targets, {0:g} of each shared out evenly among all classes"
_BLOCK = 1 << 16
"""Those are worked through in blocks of rows with so many scores, which stay in the cache."""


# -- from scores --------------------------------------------------------------------------------------------------


class CrossEntropy(Op):
    """Negative log-likelihood of the right classes under the softmax of the scores, in one operation.

    Of the scores nothing is kept but their exponentials relative to the largest of each row.
    """

    name = "cross_entropy"
    formula = "L = −1/Σw Σₙ w_y ln softmax(xₙ)_y"
    gate = "softmax(x) − one-hot(y), weighted: what was predicted minus what was asked for"
    has_extra = True

    def forward(x, target, weight=None, *, reduction, ignore_index, smoothing):
        loss, plain, e = _loss(_whole, x, target, weight, reduction, ignore_index, smoothing)
        return loss, (plain, e if x.ndim == 2 else from_rows(e, x.shape))

    @classmethod
    def gradient_form(cls, name, ctx):
        if name != "x":
            return ""
        asked = "q" if ctx.params["smoothing"] else "onehot(target)"
        weighted = len(ctx.shapes) > 2 and ctx.shapes[2] != ()
        difference = f"w ⊙ (p − {asked})" if weighted else f"(p − {asked})"
        meanings = ["p = softmax(x)"]
        if ctx.params["smoothing"]:
            meanings.append(f"q: {_SMOOTHED.format(ctx.params['smoothing'])}")
        if weighted:
            meanings.append("w: the weight of each row's class")
        mean = ctx.params["reduction"] == "mean"
        if mean:
            found = ctx.extra[0] if ctx.extra else None
            total = "N: the sum of those weights" if weighted else "N: how many rows count"
            meanings.append(total if found is None else f"N = {found.total:g}")
        form = f"g ⊙ {difference}" if ctx.params["reduction"] == "none" else f"g {difference}"
        return f"{form}{'/N' if mean else ''}; {', '.join(meanings)}"

    def intermediates(params, extra):
        # exp(x − top): a constant factor of a row has no part in its softmax, nor in any derivative of that.
        return (Intermediate(0, Exp, NOTHING, extra[1]),)

    def vjp_x(ctx, g, target, weight):
        if isinstance(g, Tensor):
            e = restored(ctx, *CrossEntropy.intermediates(ctx.params, ctx.extra))
            share = e / e.sum(axis=class_axis(e), keepdims=True)
            return over_classes(ctx, g, e) * _slope(ctx, share, target, weight)
        return _gradient(ctx, g, ctx.extra[1], _share_of_exponentials, target, weight)

    def jvp_x(ctx, t, x, target, weight):
        products = (t * _slope(ctx, softmax(x, class_axis(x)), target, weight)).sum(axis=class_axis(x))
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


class LargeCrossEntropy(CrossEntropy):
    """The same for very many scores: these are kept, and exponentials made again."""

    name = "cross_entropy"

    def forward(x, target, weight=None, *, reduction, ignore_index, smoothing):
        loss, plain, _ = _loss(_by_blocks, x, target, weight, reduction, ignore_index, smoothing)
        return loss, (plain, None)

    def intermediates(params, extra):
        return ()

    def vjp_x(ctx, g, x, target, weight):
        if isinstance(g, Tensor):
            return over_classes(ctx, g, x) * _slope(ctx, softmax(x, class_axis(x)), target, weight)
        return _gradient(ctx, g, x, _share_by_blocks, target, weight)


def _loss(
    method: Any, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int, smoothing: float
) -> tuple[Any, Labels | None, Any]:
    """The loss; the labels, if they all count alike and are the target's memory; what ``method`` made of the rows."""
    rows = to_rows(x)
    found = Labels("cross_entropy", target, rows.shape[1], weight, x.dtype, ignore_index)
    losses, uniform, made = method(rows, found.labels, smoothing, weight)
    if found.share is not None:
        losses = found.only_valid(losses * found.share)
    if smoothing:
        losses = (1.0 - smoothing) * losses + smoothing / rows.shape[1] * found.only_valid(uniform)
    plain = found if found.share is None and target.dtype == np.int64 else None
    return _reduce(losses, reduction, found.total, target.shape), plain, made


def _whole(rows: Any, labels: Any, smoothing: float, weight: Any) -> tuple[Any, Any, Any]:
    """−ln p of each row's class, Σ_c −w_c ln p_c (None without smoothing), and exp(x − top)."""
    z = rows - np.maximum.reduce(rows, axis=1, keepdims=True)
    right = z[positions(len(z)), labels]
    together = None if not smoothing else z.sum(axis=1) if weight is None else z @ weight
    e = np.exp(z, out=z)
    log_s = np.log(_sums(e))
    if smoothing:
        together = log_s * (e.shape[1] if weight is None else weight.sum()) - together
    return log_s - right, together, e


def _by_blocks(rows: Any, labels: Any, smoothing: float, weight: Any) -> tuple[Any, Any, None]:
    """As :func:`_whole`, without an array of the size of ``rows``."""
    losses, uniform = np.empty((2, len(rows)), rows.dtype)
    for block in _blocks(rows):
        losses[block], together, _ = _whole(rows[block], labels[block], smoothing, weight)
        if smoothing:
            uniform[block] = together
    return losses, uniform, None


def _share_of_exponentials(factor: Any, e: Any) -> Any:
    """The softmax of each row times its factor (or times one factor for all), from exponentials."""
    return e * (factor / _sums(e))[:, None]


def _share_by_blocks(factor: Any, rows: Any) -> Any:
    """The same from scores."""
    factor = np.broadcast_to(factor, len(rows))
    out = np.empty(rows.shape, rows.dtype)
    for block in _blocks(rows):
        part = np.subtract(rows[block], np.maximum.reduce(rows[block], axis=1, keepdims=True), out=out[block])
        np.exp(part, out=part)
        part *= (factor[block] / _sums(part))[:, None]
    return out


def _blocks(rows: Any) -> Iterable[slice]:
    step = max(1, _BLOCK // rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _sums(e: Any) -> Any:
    return np.dot(e, _ones(e.shape[1], e.dtype))


@lru_cache(maxsize=8)
def _ones(n: int, dtype: Any) -> Any:
    """Rows are summed as a product with ones, which BLAS does faster than NumPy reduces short rows."""
    return np.ones(n, dtype)


def _gradient(ctx: Any, g: Any, kept: Any, share: Any, target: Any, weight: Any) -> Any:
    """The gradient by the scores; ``share(factor, rows)`` gives the softmax, each row times its factor."""
    rows = to_rows(kept)
    reduction, ignore_index, smoothing = ctx.params.values()
    found = ctx.extra[0] or Labels("cross_entropy", target, rows.shape[1], weight, rows.dtype, ignore_index)
    g = g / found.total if reduction == "mean" else g.reshape(-1) if reduction == "none" else g
    if found.share is None and not smoothing:
        d = share(g, rows)
        d[positions(len(d)), found.labels] -= g
    else:
        d = _weighted_rows(g, rows, share, weight, found, smoothing)
    return d if kept.ndim == 2 else from_rows(d, kept.shape)


def _weighted_rows(g: Any, rows: Any, share: Any, weight: Any, found: Labels, smoothing: float) -> Any:
    """The gradient of weighted, partly ignored or smoothed rows: p Σq − q, where q is what each row asks for."""
    right = g * (1.0 - smoothing) if found.share is None else g * found.share * (1.0 - smoothing)
    if smoothing:
        classes = rows.shape[1]
        each = found.only_valid(np.broadcast_to(g * (smoothing / classes), found.labels.shape))
        d = share(right + each * (classes if weight is None else weight.sum()), rows)
        d -= each[:, None] if weight is None else np.multiply.outer(each, weight)
    else:
        d = share(right, rows)
    d[positions(len(d)), found.labels] -= right
    if found.valid is not None:
        d[~found.valid] = 0.0
    return d


def _slope(ctx: Any, share: Any, target: Any, weight: Any) -> Any:
    """The derivative of the loss (of each position's) by the scores, recorded; ``share`` is their softmax."""
    reduction, ignore_index, smoothing = ctx.params.values()
    plain = getattr(target, "_data", target), getattr(weight, "_data", weight)
    found = Labels("cross_entropy", plain[0], share.shape[class_axis(share)], plain[1], share.dtype, ignore_index)
    q = constant(_asked(found, plain[1], share, smoothing))
    slope = share * q.sum(axis=class_axis(share), keepdims=True) - q
    return slope / found.total if reduction == "mean" else slope


def _asked(found: Labels, weight: Any, like: Any, smoothing: float) -> Any:
    """The weight that each position gives to each class's −ln p, in the shape of the scores."""
    classes = like.shape[class_axis(like)]
    q = np.zeros((len(found.labels), classes), like.dtype)
    if smoothing:
        q += smoothing / classes if weight is None else weight * (smoothing / classes)
    q[positions(len(q)), found.labels] += (1.0 - smoothing) * (1.0 if found.share is None else found.share)
    if found.valid is not None:
        q[~found.valid] = 0.0
    return from_rows(q, like.shape)


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

    @classmethod
    def gradient_form(cls, name, ctx):
        if name != "x" or (len(ctx.shapes) > 2 and ctx.shapes[2] != ()):
            return ""
        if ctx.params["reduction"] == "mean":
            return "−(g onehot(target))/N; N: how many rows count"
        return "−(g ⊙ onehot(target))"

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
    op = CrossEntropy if math.prod(x.shape) <= _KEPT else LargeCrossEntropy
    return apply(op, inputs, {**params, "ignore_index": ignore_index, "smoothing": float(label_smoothing)})


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
