"""Regularisation as an explicit term ``R(W)`` of the loss, to be added to the data loss before ``backward()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..tensor import Tensor
from .module import Module

Model = Module | Tensor | Iterable[Tensor]


def l1_penalty(model: Model, weight: float = 1.0, *, include_bias: bool = False) -> Tensor:
    """``R(W) = λ Σ |w|``, whose gradient is λ sign(w): it pulls small weights to exactly zero.

    Args:
        model: a module, a parameter, or parameters.
        weight: λ.
        include_bias: for a module, whether biases (parameters of fewer than two dimensions, which also takes in the
            scales and shifts of normalisation layers) count as well. Parameters given directly always count.

    Returns:
        A 0-d tensor, differentiable.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, -2.0], requires_grad=True)
    >>> bl.nn.l1_penalty(w, 0.5).item()
    1.5
    """
    return _penalty(model, weight, include_bias, lambda p: p.abs().sum())


def l2_penalty(model: Model, weight: float = 1.0, *, include_bias: bool = False) -> Tensor:
    """``R(W) = λ Σ w²``, *without* a factor ½: its gradient is 2λw.

    An optimizer's ``weight_decay=c`` adds c·w to the gradient, which is the convention ``R = c/2 Σ w²``: for plain
    gradient descent ``weight_decay=c`` and ``l2_penalty(model, c/2)`` are the same (where they cover the same
    parameters). A textbook's ``λ/(2n) Σ w²`` is ``l2_penalty(model, λ/(2n))``. Arguments as in :func:`l1_penalty`.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, -2.0], requires_grad=True)
    >>> bl.nn.l2_penalty(w, 0.5).backward()
    >>> w.grad
    tensor([ 1., -2.])
    """
    return _penalty(model, weight, include_bias, lambda p: p.square().sum())


def _penalty(model: Model, weight: float, include_bias: bool, of: Callable[[Tensor], Tensor]) -> Tensor:
    total: Any = None
    for parameter in _covered(model, include_bias):
        part = of(parameter)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("there are no parameters to penalise; biases count only with include_bias=True.")
    return total * weight


def _covered(model: Model, include_bias: bool) -> list[Tensor]:
    if isinstance(model, Module):
        return [p for p in model.parameters() if include_bias or p.ndim > 1]
    return [model] if isinstance(model, Tensor) else list(model)
