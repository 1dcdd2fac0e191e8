"""Gradient descent, with momentum if wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import ClassVar

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .blocks import Array, Group
from .optimizer import Limits, Optimizer, Params, descent, reject


class SGD(Optimizer):
    """Stochastic gradient descent.

    ``g ← ∇ + weight_decay · p``, with momentum ``b ← momentum · b + (1 − dampening) · g`` (``b ← g`` at the first step)
    and ``g ← b``, or with ``nesterov`` ``g ← g + momentum · b``; then ``p ← p − lr · g``. To ``maximize``, ∇'s sign is
    turned first. Momentum is that of Sutskever et al., 2013, but with the learning rate outside, as in PyTorch.

    Args:
        params: parameters or parameter groups; see :class:`Optimizer`.
        lr: learning rate.
        momentum, dampening, nesterov: as above; ``nesterov`` needs a momentum and no dampening.
        weight_decay: factor of the L2 penalty ``weight_decay / 2 · ‖p‖²``.
        maximize: go up instead of down.
        foreach, fused: PyTorch's hints about speed; the result is the same, and they have no effect here.

    float16 parameters are updated in float32, their momentum is kept in float32, and the result is rounded once.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = bl.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.0, 0.0]
    """

    limits: ClassVar[Limits] = {
        "lr": (0.0, inf),
        "momentum": (0.0, inf),
        "weight_decay": (0.0, inf),
        "dampening": (-inf, inf),
    }
    counts_steps: ClassVar[bool] = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        reject("SGD", differentiable=differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        """Also: Nesterov's momentum needs a momentum and no dampening."""
        super().check(group)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise OperationError(f"SGD at {describe(mark())}: nesterov=True needs momentum > 0 and dampening=0.")

    def slots(self, group: Group) -> Mapping[str, float]:
        """``momentum_buffer``, where there is momentum."""
        return {"momentum_buffer": 0.0} if group["momentum"] else {}

    def constants(self, group: Group, step: int) -> tuple[float, ...]:
        """The first gradient enters the momentum whole, later ones dampened."""
        share = 1.0 if step == 1 else 1.0 - group["dampening"]
        return group["lr"], group["weight_decay"], group["momentum"], share

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """See the class."""
        lr, decay, momentum, share = k
        g = descent(group, decay, g, p, t, u)
        if moments:
            (velocity,) = moments
            np.multiply(velocity, momentum, velocity)
            np.add(velocity, np.multiply(g, share, t) if group["dampening"] else g, velocity)
            g = np.add(np.multiply(velocity, momentum, t), g, u) if group["nesterov"] else velocity
        np.subtract(p, np.multiply(g, lr, t), p)
