"""Losses for yes-or-no targets, from probabilities and from logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Sample, Tensor, apply, operation
from .elementwise import operand
from .misuse import any_wrong, misuse
from .pointwise import REDUCTIONS, Pointwise, pair, reduction_of, weighted


class BCELoss(Pointwise):
    """Binary cross-entropy of probabilities; logarithms are kept above −100, so that 0 and 1 stay finite."""

    name = "binary_cross_entropy"
    formula = "L = −1/n Σ t ln x + (1 − t) ln(1 − x)"
    gate = "scales by (x − t)/(x(1 − x)), divided by n"
    domain = "0 ≤ x ≤ 1"

    def value(s, x, target):
        return (target - 1.0) * s.maximum(s.log1p(-x), -100.0) - target * s.maximum(s.log(x), -100.0)

    def slope_x(s, x, target):
        return (x - target) / s.maximum((1.0 - x) * x, 1e-12)

    def slope_target(s, x):
        return s.maximum(s.log1p(-x), -100.0) - s.maximum(s.log(x), -100.0)

    @classmethod
    def samples(cls, rng):
        return _samples(rng, lambda *shape: rng.uniform(0.1, 0.9, size=shape))


class BCEWithLogitsLoss(Pointwise):
    """Binary cross-entropy of logits, finite for every finite input."""

    name = "binary_cross_entropy_with_logits"
    formula = "L = 1/n Σ (1 − t) x + (1 + (w − 1) t) ln(1 + e⁻ˣ)"
    gate = "scales by (σ(x) − t)/n"

    def value(s, x, target, pos_weight=None):
        tail = s.log1p(s.exp(-s.abs(x)))  # ln(1 + e^(−|x|)), which cannot overflow
        if pos_weight is None:
            return s.maximum(x, 0.0) - x * target + tail
        return (1.0 - target) * x + (1.0 + (pos_weight - 1.0) * target) * (tail + s.maximum(-x, 0.0))

    def slope_x(s, x, target, pos_weight):
        if pos_weight is None:
            return _sigmoid(s, x) - target
        return (1.0 - target) - (1.0 + (pos_weight - 1.0) * target) * _sigmoid(s, -x)

    def slope_target(s, x, pos_weight):
        return -x if pos_weight is None else (pos_weight - 1.0) * _softplus(s, -x) - x

    def slope_pos_weight(s, x, target):
        return target * _softplus(s, -x)

    @classmethod
    def samples(cls, rng):
        yield from _samples(rng, lambda *shape: rng.normal(scale=3.0, size=shape))
        x, t = rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))
        yield Sample(x, t, pos_weight=rng.uniform(0.5, 3.0, size=(4,)))
        yield Sample(x, t, rng.uniform(0.5, 1.5, size=(3, 1)), pos_weight=rng.uniform(0.5, 3.0, size=(3, 4)))


def _sigmoid(s: Any, x: Any) -> Any:
    e = s.exp(-s.abs(x))
    return s.where(x >= 0, 1.0, e) / (e + 1.0)


def _softplus(s: Any, x: Any) -> Any:
    return s.maximum(x, 0.0) + s.log1p(s.exp(-s.abs(x)))


def _samples(rng: np.random.Generator, draw: Any) -> Iterable[Sample]:
    for reduction in REDUCTIONS:
        yield Sample(draw(3, 4), rng.uniform(size=(3, 4)), reduction=reduction)
    yield Sample(draw(3, 4), rng.uniform(size=(3, 4)), rng.uniform(0.5, 1.5, size=(4,)))
    yield Sample(draw(), rng.uniform(size=()))
    yield Sample(draw(0, 2), rng.uniform(size=(0, 2)), reduction="sum")


@operation(BCELoss)
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of probabilities ``input`` with targets between 0 and 1.

    Prefer :func:`binary_cross_entropy_with_logits`, which does not lose digits near 0 and 1.

    Args:
        weight: a factor for each entry, broadcast.

    Raises:
        OperationError: the shapes differ, or a probability lies outside [0, 1].
    """
    x, target = pair("binary_cross_entropy", input, target)
    _check_probabilities(x)
    params = {"reduction": reduction_of("binary_cross_entropy", reduction, size_average, reduce)}
    if weight is not None:
        return weighted("binary_cross_entropy", BCELoss, (x, target), weight, params, by_weight=False)
    return apply(BCELoss, (x, target), params)


def _check_probabilities(x: Any) -> None:
    if any_wrong(x, lambda values: (values < 0) | (values > 1)):
        raise misuse(
            "binary_cross_entropy",
            "predictions must be probabilities between 0 and 1; these "
            f"range from {float(x.min()):.6g} to {float(x.max()):.6g}. "
            "Use binary_cross_entropy_with_logits, or a sigmoid first.",
        )


@operation(BCEWithLogitsLoss)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy of ``sigmoid(input)``, computed from the logits without overflow or cancellation.

    Args:
        weight: a factor for each entry, broadcast.
        pos_weight: a factor for the targets' positive part, broadcast (as a rule one for each class): above 1 misses
            cost more, below 1 false alarms do.

    Raises:
        OperationError: the shapes differ.

    >>> import backlit as bl
    >>> bl.binary_cross_entropy_with_logits(bl.tensor([1000.0, -1000.0]), bl.tensor([1.0, 1.0]))
    tensor(500.)
    """
    name = "binary_cross_entropy_with_logits"
    x, target = pair(name, input, target)
    inputs = (x, target) if pos_weight is None else (x, target, _positive(name, x, pos_weight))
    params = {"reduction": reduction_of(name, reduction, size_average, reduce)}
    if weight is not None:
        return weighted(name, BCEWithLogitsLoss, inputs, weight, params, by_weight=False)
    return apply(BCEWithLogitsLoss, inputs, params)


def _positive(name: str, x: Any, pos_weight: Any) -> Any:
    pos_weight = operand(pos_weight)
    shape = tuple(pos_weight.shape)
    if len(shape) > x.ndim or any(n not in (1, m) for n, m in zip(shape[::-1], x.shape[::-1], strict=False)):
        raise OperationError(
            f"{name} at {describe(mark())}: pos_weight has shape {shape}, which does not broadcast to the "
            f"prediction's {tuple(x.shape)}; give one number for each class."
        )
    return pos_weight if pos_weight.dtype == x.dtype else pos_weight.astype(x.dtype)
