"""Adam, and AdamW, which is Adam with the weight decay outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, sqrt
from typing import ClassVar

import numpy as np

from .blocks import Array, Group
from .optimizer import Limits, Optimizer, Params, descent, reject


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running estimates of the gradient's mean and mean square.

    ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``m̂ = m / (1 − β₁ᵗ)``, ``v̂ = v / (1 − β₂ᵗ)``,
    ``p ← p − lr · m̂ / (√v̂ + ε)``, where ``g = ∇ + weight_decay · p``. With ``amsgrad`` (Reddi et al., 2018) the largest
    ``v`` so far takes the place of ``v`` in ``v̂``. With ``decoupled_weight_decay`` the decay is
    ``p ← p − lr · weight_decay · p`` instead, and ``g`` is the gradient alone: that is :class:`AdamW`.

    Args:
        params: parameters or parameter groups; see :class:`Optimizer`.
        lr: learning rate.
        betas: ``(β₁, β₂)``, each in [0, 1).
        eps: ε, added to the root for safety.
        weight_decay: factor of the L2 penalty.
        amsgrad, maximize, decoupled_weight_decay: as above; ``maximize`` goes up instead of down.
        foreach, fused: PyTorch's hints about speed; the result is the same, and they have no effect here.

    ``state[p]`` holds ``step``, ``exp_avg`` (m), ``exp_avg_sq`` (v) and with ``amsgrad`` ``max_exp_avg_sq``. float16
    parameters are updated in float32, their state is kept in float32, and the result is rounded once.

    >>> import backlit as bl
    >>> w = bl.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = bl.optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75, -1.75]
    """

    limits: ClassVar[Limits] = {"lr": (0.0, inf), "betas": (0.0, 1.0), "eps": (0.0, inf), "weight_decay": (0.0, inf)}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        reject(type(self).__name__, capturable=capturable, differentiable=differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def slots(self, group: Group) -> Mapping[str, float]:
        """The running mean, mean square, and with ``amsgrad`` the largest mean square."""
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")
        return dict.fromkeys(names, 0.0)

    def constants(self, group: Group, step: int) -> tuple[float, ...]:
        """The bias corrections go into the step size and ε: ``lr √c₂ / c₁ · m / (√v + ε √c₂)`` with ``c = 1 − βᵗ``."""
        beta1, beta2 = group["betas"]
        lr, weight_decay = group["lr"], group["weight_decay"]
        root = sqrt(1.0 - beta2**step)
        size = lr * root / (1.0 - beta1**step)
        decay = 1.0 - lr * weight_decay if group["decoupled_weight_decay"] else weight_decay
        return beta1, 1.0 - beta1, beta2, 1.0 - beta2, group["eps"] * root, size, decay

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """See the class."""
        m, v, *largest = moments
        beta1, rest1, beta2, rest2, eps, size, decay = k
        if not group["decoupled_weight_decay"]:
            g = descent(group, decay, g, p, t, u)
        else:
            np.multiply(p, decay, p)
            if group["maximize"]:
                g = np.negative(g, u)
        np.multiply(m, beta1, m)
        np.add(m, np.multiply(g, rest1, t), m)
        np.multiply(v, beta2, v)
        np.multiply(np.multiply(g, g, t), rest2, t)
        np.add(v, t, v)
        if largest:
            v = np.maximum(largest[0], v, out=largest[0])
        np.add(np.sqrt(v, t), eps, t)
        np.multiply(np.divide(m, t, t), size, t)
        np.subtract(p, t, p)


class AdamW(Adam):
    """Adam with the decay ``p ← p − lr · weight_decay · p`` before the step (Loshchilov and Hutter, 2019).

    Args:
        params, lr, betas, eps, amsgrad, maximize, foreach, fused: as for :class:`Adam`.
        weight_decay: the share of a parameter, times ``lr``, that is taken off at each step.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            decoupled_weight_decay=True,
        )
