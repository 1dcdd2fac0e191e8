"""Losses composed of other operations: likelihoods of Gaussian and Poisson counts, distances to similar examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activations import clamp, softplus
from .arithmetic import maximum, minimum, where
from .definition import Sample, Tensor, operation
from .elementwise import match, operand
from .misuse import any_wrong, misuse
from .norms import norm
from .pointwise import reduced, reduction_of
from .transcendental import exp, log, sqrt


def _likelihood_samples(rng: np.random.Generator) -> list[Sample]:
    def draw(*shape: int) -> Any:
        return rng.normal(size=shape)

    variance = rng.uniform(0.5, 2.0, size=(3, 4))
    return [
        Sample(draw(3, 4), draw(3, 4), variance),
        Sample(draw(3, 4), draw(3, 4), variance[:, :1], full=True, reduction="sum"),
        Sample(draw(3, 4), draw(3, 4), variance[:, 0], reduction="none"),
    ]


@operation(
    formula="L = 1/n Σ ½ (ln σ² + (x − t)²/σ²)",
    gate="scales by (x − t)/σ² and by (1 − (x − t)²/σ²)/2σ²",
    domain="variances below eps count as eps and receive no gradient",
    samples=_likelihood_samples,
)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of a target under normal distributions with means ``input`` and variances ``var``.

    Args:
        input, target: any shape, the same or one that broadcasts.
        var: a number, or of the input's shape, or with 1 for the last dimension, or without it. Not negative.
        full: add the constant ``ln(2π)/2``.
        eps: variances count as at least this; smaller ones receive no gradient.
        reduction: "mean", "sum" or "none".
    """
    reduction_of("gaussian_nll_loss", reduction)
    input, target = match(operand(input), operand(target))
    var = input * 0.0 + var if isinstance(var, float) else operand(var)
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.reshape((*var.shape, 1))
        elif var.shape != (*input.shape[:-1], 1):
            raise misuse(
                "gaussian_nll_loss",
                f"variances of shape {tuple(var.shape)} do not fit predictions {tuple(input.shape)}.",
            )
    if any_wrong(var, lambda values: values < 0):
        raise misuse("gaussian_nll_loss", f"a variance is negative, the smallest is {float(var.min())}.")
    var = where(var < eps, eps, var)
    loss = (log(var) + (input - target) ** 2 / var) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@operation(
    formula="L = 1/n Σ eˣ − t x",
    gate="scales by eˣ − t, the expected count less the observed one",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), rng.integers(0, 5, (3, 4)).astype(np.float32)),
        Sample(rng.uniform(0.5, 2, size=(3, 4)), rng.uniform(0.2, 5, size=(3, 4)), False, True, reduction="none"),
        Sample(rng.normal(size=()), rng.normal(size=()), reduction="sum"),
    ],
)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under Poisson distributions.

    Args:
        input: the logarithms of the expected counts (``log_input``), or these themselves.
        target: the counts.
        full: add Stirling's approximation of ``ln(t!)`` where t > 1.
        eps: added to expected counts before their logarithm is taken.
        reduction: "mean", "sum" or "none"; ``size_average`` and ``reduce`` are its older forms.
    """
    reduction = reduction_of("poisson_nll_loss", reduction, size_average, reduce)
    input, target = match(operand(input), operand(target))
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        many = where(target <= 1, 2.0, target)
        stirling = many * log(many) - many + 0.5 * log(many * (2 * math.pi))
        loss = loss + where(target <= 1, 0.0, stirling)
    return reduced(loss, reduction)


@operation(
    formula="L = 1/n Σ ln(1 + e^(−t x))",
    gate="scales by −t σ(−t x)",
    samples=lambda rng: [
        Sample(rng.normal(size=(3, 4)), np.sign(rng.normal(size=(3, 4))).astype(np.float32)),
        Sample(rng.normal(size=3), np.ones(3, np.float32), reduction="none"),
    ],
)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """The logistic loss of scores with targets 1 and −1."""
    reduction = reduction_of("soft_margin_loss", reduction, size_average, reduce)
    input, target = match(operand(input), operand(target))
    return reduced(softplus(-target * input, threshold=float("inf")), reduction)  # smooth at every margin


def _anchors(rng: np.random.Generator) -> list[Sample]:
    def draw(*shape: int) -> Any:
        return rng.normal(size=shape)

    return [
        Sample(draw(4, 3), draw(4, 3), draw(4, 3)),
        Sample(draw(4, 3), draw(4, 3), draw(4, 3), 2.0, 3.0, swap=True, reduction="none"),
        Sample(draw(3), draw(3), draw(3), reduction="sum"),
    ]


@operation(
    formula="L = 1/n Σ max(0, ‖a − p‖ − ‖a − n‖ + margin)",
    gate="routes: only triplets inside the margin receive gradients",
    domain="kink where the margin is met exactly",
    samples=_anchors,
)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """How far each anchor fails to be closer to its positive than to its negative example by ``margin``.

    Args:
        anchor, positive, negative: shape (N, D) or (D).
        p, eps: the distance is the p-norm of the difference plus eps.
        swap: take the positive's distance to the negative example where that is smaller (Balntas et al. 2016).
        reduction: "mean", "sum" or "none"; ``size_average`` and ``reduce`` are its older forms.
    """
    reduction = reduction_of("triplet_margin_loss", reduction, size_average, reduce)
    anchor, positive, negative = (operand(x) for x in (anchor, positive, negative))
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise misuse("triplet_margin_loss", "anchor, positive and negative need equally many dimensions.")
    if not margin > 0:
        raise misuse("triplet_margin_loss", f"the margin must be positive, it is {margin}.")
    near, far = norm(anchor - positive + eps, p, -1), norm(anchor - negative + eps, p, -1)
    if swap:
        far = minimum(far, norm(positive - negative + eps, p, -1))
    return reduced(clamp(near - far + margin, min=0.0), reduction)


@operation(
    formula="L = 1/n Σ (1 − cos(a, b) if t = 1 else max(0, cos(a, b) − margin))",
    gate="routes: similar pairs always, dissimilar ones inside the margin",
    domain="kink where a dissimilar pair meets the margin",
    samples=lambda rng: [
        Sample(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([1, -1, 1, -1])),
        Sample(rng.normal(size=3), rng.normal(size=3), np.array(1), 0.2, reduction="none"),
    ],
)
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """One less the cosine of similar pairs (target 1); the cosine above ``margin`` of dissimilar ones (target −1).

    Args:
        input1, input2: shape (N, D) or (D).
        target: 1 or −1, shape (N) or ().
        reduction: "mean", "sum" or "none"; ``size_average`` and ``reduce`` are its older forms.
    """
    reduction = reduction_of("cosine_embedding_loss", reduction, size_average, reduce)
    input1, input2 = match(operand(input1), operand(input2))
    target = operand(target)
    if input1.ndim != target.ndim + 1 or input1.ndim != input2.ndim:
        raise misuse(
            "cosine_embedding_loss",
            f"the target {tuple(target.shape)} must have one dimension less than the inputs "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}.",
        )
    dot = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = dot / sqrt(squares)
    unlike = where(target == -1, maximum(cosine - margin, 0.0), 0.0)
    return reduced(where(target == 1, 1.0 - cosine, 0.0) + unlike, reduction)
