"""Gradient clipping, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...creation import zeros
from ...errors import GradientError, OperationError
from ...graph import mode, no_grad
from ...numerics import quiet
from ...source import describe, mark
from ...tensor import Tensor
from ..parameter import overwrite

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]

Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: Tensors) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all tensors read as one vector: a 0-d tensor.

    Args:
        tensors: gradients, for example.
        norm_type: p of the p-norm; ``inf`` gives the largest magnitude.
        error_if_nonfinite: raise when the norm is NaN or infinite.

    Raises:
        GradientError: the norm is not finite and ``error_if_nonfinite``.
    """
    arrays = [t._data for t in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    dtype = arrays[0].dtype if arrays else np.dtype(np.float32)
    with quiet():
        total = _norm([_norm_of(a, float(norm_type)) for a in arrays], float(norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise GradientError(
            f"clip_grad_norm_ at {describe(mark())}: the {norm_type}-norm of the gradients is {total}. "
            "Look for the first NaN or infinity in the loss; error_if_nonfinite=False goes on regardless."
        )
    return Tensor(np.asarray(total, dtype))


def _norm_of(array: np.ndarray, p: float) -> float:
    flat = array.reshape(-1)
    if flat.size == 0:
        return 0.0
    if p == 2.0:
        square = float(np.dot(flat, flat)) if flat.dtype != np.float16 else math.inf
        if 1e-30 < square < 1e30:
            return math.sqrt(square)
        flat = flat.astype(np.float64)  # the squares leave float32's range
    return float(np.linalg.norm(flat, p))


def _norm(parts: list[float], p: float) -> float:
    return float(np.linalg.norm(np.array(parts, np.float64), p)) if parts else 0.0


def clip_grads_with_norm_(parameters: Tensors, max_norm: float, total_norm: Tensor) -> None:
    """Scale all gradients in place by ``max_norm / total_norm`` where that is below 1."""
    factor = float(max_norm) / (total_norm.item() + 1e-6)
    if not factor >= 1.0:
        for gradient in _gradients(parameters):
            with quiet():
                overwrite(gradient, gradient._data * gradient._data.dtype.type(factor))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most ``max_norm``.

    Directions are kept: the gradients are treated as one vector. A norm of NaN or infinity makes them NaN or zero, so
    that it does not pass unseen; ``error_if_nonfinite`` raises instead. ``foreach`` changes nothing here.

    Returns:
        The norm before clipping, a 0-d tensor.

    >>> import backlit as bl
    >>> p = bl.nn.Parameter(bl.zeros(2))
    >>> p.grad = bl.tensor([3.0, 4.0])
    >>> bl.nn.utils.clip_grad_norm_([p], 1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6, 0.8])
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if mode.tracer is not None and not error_if_nonfinite:
        return _clip_by_operations(_gradients(given), float(max_norm), float(norm_type))
    total = get_total_norm(_gradients(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def _clip_by_operations(gradients: list[Tensor], max_norm: float, norm_type: float) -> Tensor:
    """:func:`clip_grad_norm_` without looking at a number, so that it can be part of what is compiled."""
    from ...ops import norm, stack, where

    with no_grad():
        if not gradients:
            return zeros(())
        total = norm(stack([norm(g, norm_type) for g in gradients]), norm_type)
        factor = max_norm / (total + 1e-6)
        factor = where(factor >= 1.0, 1.0, factor)
        for gradient in gradients:
            gradient.mul_(factor.to(gradient.dtype))
    return total


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every entry of the gradients off at ±``clip_value``, in place. ``foreach`` changes nothing here."""
    limit = float(clip_value)
    for gradient in _gradients(parameters):
        if mode.tracer is not None:
            gradient.clamp_(-limit, limit)  # an operation, so that it can be part of what is compiled
            continue
        overwrite(gradient, np.clip(gradient._data, -limit, limit))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, in one vector. Differentiable."""
    from ...ops import cat

    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy consecutive pieces of a vector into the parameters.

    Raises:
        OperationError: the vector has not as many entries as the parameters together.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {type(vec).__name__}.")
    given: list[Any] = list(parameters)
    wanted = sum(p._data.size for p in given)
    if vec.shape != (wanted,):
        raise OperationError(
            f"vector_to_parameters at {describe(mark())}: the parameters have {wanted} entries, the vector has shape "
            f"{vec.shape}."
        )
    start = 0
    for p in given:
        overwrite(p, vec._data[start : start + p._data.size].reshape(p.shape))
        start += p._data.size
