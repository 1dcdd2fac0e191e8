"""Adagrad: steps divided by the root of the sum of squared gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import ClassVar

import numpy as np

from .blocks import Array, Group
from .optimizer import Limits, Optimizer, Params, descent, reject


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011).

    ``s ← s + g²``, ``p ← p − lr / (1 + (t − 1) · lr_decay) · g / (√s + ε)`` with ``g = ∇ + weight_decay · p`` and the
    step number ``t``.

    Args:
        params: parameters or parameter groups; see :class:`Optimizer`.
        lr: learning rate.
        lr_decay: how fast the learning rate falls, as above.
        weight_decay: factor of the L2 penalty.
        initial_accumulator_value: what ``s`` starts from.
        eps: ε, added to the root for safety.
        maximize: go up instead of down.
        foreach, fused: PyTorch's hints about speed; the result is the same, and they have no effect here.

    ``state[p]`` holds ``step`` and ``sum`` (in float32 for float16 parameters) from the first step on.
    """

    limits: ClassVar[Limits] = {
        "lr": (0.0, inf),
        "lr_decay": (0.0, inf),
        "weight_decay": (0.0, inf),
        "initial_accumulator_value": (0.0, inf),
        "eps": (0.0, inf),
    }

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        reject("Adagrad", differentiable=differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "maximize": maximize,
            },
        )

    def slots(self, group: Group) -> Mapping[str, float]:
        """The sum of squares."""
        return {"sum": float(group["initial_accumulator_value"])}

    def constants(self, group: Group, step: int) -> tuple[float, ...]:
        """The learning rate after decay."""
        return group["lr"] / (1.0 + (step - 1) * group["lr_decay"]), group["eps"], group["weight_decay"]

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """See the class."""
        lr, eps, decay = k
        (total,) = moments
        g = descent(group, decay, g, p, t, u)
        np.add(total, np.multiply(g, g, t), total)
        np.add(np.sqrt(total, t), eps, t)
        np.multiply(np.divide(g, t, t), lr, t)
        np.subtract(p, t, p)
