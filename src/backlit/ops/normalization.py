"""Normalisations within a sample: layer, root mean square, group and instance."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OperationError
from ..graph import mode
from ..source import describe, mark
from .batch_normalization import batch_norm
from .definition import Sample, Tensor, apply, operation
from .standardize import Layout, Standardize, floating, given, move, require_channels

Array = np.ndarray


class LayerNorm(Standardize):
    """The last dimensions of each sample, standardised."""

    name = "layer_norm"
    formula = "y = w (x − μ) / √(σ² + ε) + b,  μ and σ² over the last dimensions"


class RMSNorm(Standardize):
    """The last dimensions of each sample, divided by their root mean square."""

    name = "rms_norm"
    formula = "y = w x / √(mean(x²) + ε)"
    gate = "scales, and takes out of the gradient what scaling the group would undo"


class GroupNorm(Standardize):
    """Groups of channels of each sample, standardised."""

    name = "group_norm"
    formula = "y = w (x − μ) / √(σ² + ε) + b,  μ and σ² over each group of channels of a sample"


def _last_dimensions(name: str, x: Any, normalized_shape: Any, *affine: Any, centred: bool = True) -> Layout:
    """The layout of a normalisation over the last dimensions, after checking that they are as announced."""
    shape = (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise OperationError(
            f"{name} at {describe(mark())}: normalized_shape {shape} must be the last dimensions of the input, whose "
            f"shape is {tuple(x.shape)}."
        )
    for parameter in affine:
        if parameter is not None and tuple(parameter.shape) != shape:
            raise OperationError(
                f"{name} at {describe(mark())}: weight and bias must have the shape {shape} that is normalised; "
                f"got {tuple(parameter.shape)}."
            )
    width = prod(shape)
    rows = prod(x.shape[: len(x.shape) - len(shape)])
    return Layout((rows, width), (1,), (1, width), centred)


def _layer_norm_samples(rng: np.random.Generator) -> Any:
    def draw(*shape: int) -> Array:
        return rng.normal(size=shape)

    yield Sample(draw(3, 4), 4, draw(4), draw(4))
    yield Sample(draw(2, 3, 4), (3, 4), draw(3, 4), draw(3, 4), eps=0.1)
    yield Sample(draw(2, 3, 4), (4,))
    yield Sample(draw(2, 4), (4,), draw(4))
    yield Sample(draw(2, 4), (4,), None, draw(4))
    yield Sample(draw(5), 5, draw(5), draw(5))
    yield Sample(draw(0, 3), 3, draw(3), draw(3))


@operation(LayerNorm, samples=_layer_norm_samples)
def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """The last dimensions of each sample shifted to mean 0, scaled to variance 1, then by ``weight`` and ``bias``.

    Args:
        input: shape (..., *normalized_shape), floating.
        normalized_shape: the last dimensions, as a number or a tuple.
        weight: shape ``normalized_shape``, or None.
        bias: shape ``normalized_shape``, or None.
        eps: added to the variance.

    Returns:
        The input's shape and dtype.

    Raises:
        OperationError: ``normalized_shape`` is not the input's, or weight or bias do not have it.
    """
    x = floating("layer_norm", input)
    layout = _last_dimensions("layer_norm", x, normalized_shape, weight, bias)
    return apply(LayerNorm, given(x, weight, bias), {"layout": layout, "eps": float(eps)})


def _rms_norm_samples(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(3, 4)), 4, rng.normal(size=4))
    yield Sample(rng.normal(size=(2, 3, 4)), (3, 4), eps=0.1)
    yield Sample(rng.normal(size=(0, 4)), (4,), rng.normal(size=4))


@operation(RMSNorm, samples=_rms_norm_samples)
def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """The last dimensions of each sample divided by their root mean square, times ``weight``.

    ``eps`` is added to the mean square; by default the spacing of numbers at 1 in the input's dtype. Shapes and errors
    are those of :func:`layer_norm`.
    """
    x = floating("rms_norm", input)
    layout = _last_dimensions("rms_norm", x, normalized_shape, weight, centred=False)
    eps = float(np.finfo(x.dtype).eps) if eps is None else float(eps)
    return apply(RMSNorm, given(x, weight, None), {"layout": layout, "eps": eps})


def _group_norm_samples(rng: np.random.Generator) -> Any:
    def draw(*shape: int) -> Array:
        return rng.normal(size=shape)

    yield Sample(draw(2, 4, 3), 2, draw(4), draw(4))
    yield Sample(draw(2, 6, 2, 2), 3, draw(6), draw(6), eps=0.1)
    yield Sample(draw(3, 4), 2, None, draw(4))
    yield Sample(draw(2, 3, 2), 1)


@operation(GroupNorm, samples=_group_norm_samples)
def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Groups of channels of each sample shifted to mean 0, scaled to variance 1, then by ``weight`` and ``bias``.

    Args:
        input: shape (N, C, ...), floating.
        num_groups: how many groups of neighbouring channels; must divide C.
        weight: shape (C,), or None.
        bias: shape (C,), or None.
        eps: added to the variance.

    Raises:
        OperationError: the groups do not divide the channels, or weight or bias do not have one entry a channel.
    """
    x = floating("group_norm", input)
    return _by_group("group_norm", x, num_groups, weight, bias, eps)


def _by_group(name: str, x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise OperationError(
            f"{name} at {describe(mark())}: needs an input of shape (N, C, ...) with channels that {groups} groups "
            f"divide; got {tuple(x.shape)}."
        )
    require_channels(name, x, weight=weight, bias=bias)
    each = x.shape[1] // groups
    view = (x.shape[0], groups, each, prod(x.shape[2:]))
    layout = Layout(view, (2, 3), (1, groups, each, 1))
    return apply(GroupNorm, given(x, weight, bias), {"layout": layout, "eps": float(eps)})


def _instance_norm_samples(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(2, 3, 4)), None, None, rng.normal(size=3), rng.normal(size=3))
    yield Sample(rng.normal(size=(2, 2, 2, 3)), eps=0.1)


@operation(GroupNorm, samples=_instance_norm_samples)
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample shifted to mean 0, scaled to variance 1, then by ``weight`` and ``bias``.

    Args:
        input: shape (N, C, ...) with at least one spatial dimension, floating.
        running_mean: shape (C,): moved in place towards the mean over the batch of the samples' means, or None.
        running_var: shape (C,): likewise, or None.
        weight: shape (C,), or None.
        bias: shape (C,), or None.
        use_input_stats: if false, use the running statistics, as :func:`batch_norm` outside training.
        momentum: the batch's share in the running statistics.
        eps: added to the variance.
    """
    x = floating("instance_norm", input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    spatial = prod(x.shape[2:])
    if x.ndim < 3 or spatial < 2:
        raise OperationError(
            f"instance_norm at {describe(mark())}: needs more than one value a channel and sample, got "
            f"shape {tuple(x.shape)}."
        )
    require_channels("instance_norm", x, running_mean=running_mean, running_var=running_var)
    if running_mean is not None or running_var is not None:
        v = (x.detach() if isinstance(x, Tensor) else x).reshape((*x.shape[:2], spatial))
        spread = ((v - v.mean(axis=2, keepdims=True)) ** 2).sum(axis=2) / (spatial - 1)
        mean, variance = v.mean(axis=(0, 2)), spread.mean(axis=0)
        if mode.tracer is None:
            mean, variance = getattr(mean, "_data", mean), getattr(variance, "_data", variance)
        move(running_mean, mean, momentum)
        move(running_var, variance, momentum)
    return _by_group("instance_norm", x, x.shape[1], weight, bias, eps)
