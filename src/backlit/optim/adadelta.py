"""Adadelta: steps scaled by the ratio of the running sizes of updates and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import ClassVar

import numpy as np

from .blocks import Array, Group
from .optimizer import Limits, Optimizer, Params, descent, reject


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012).

    ``v ← ρ v + (1 − ρ) g²``, ``Δ = √(a + ε) / √(v + ε) · g``, ``a ← ρ a + (1 − ρ) Δ²``, ``p ← p − lr · Δ`` with
    ``g = ∇ + weight_decay · p``.

    Args:
        params: parameters or parameter groups; see :class:`Optimizer`.
        lr: learning rate, 1 in the paper.
        rho: ρ, how much of the running means is kept, in [0, 1].
        eps: ε, added under the roots.
        weight_decay: factor of the L2 penalty.
        maximize: go up instead of down.
        foreach: PyTorch's hint about speed; it has no effect here.

    ``state[p]`` holds ``step``, ``square_avg`` (v) and ``acc_delta`` (a), in float32 for float16 parameters.
    """

    limits: ClassVar[Limits] = {
        "lr": (0.0, inf),
        "rho": (0.0, float(np.nextafter(1.0, 2.0))),
        "eps": (0.0, inf),
        "weight_decay": (0.0, inf),
    }

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        reject("Adadelta", capturable=capturable, differentiable=differentiable)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def slots(self, group: Group) -> Mapping[str, float]:
        """The running mean squares of gradients and of updates."""
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def constants(self, group: Group, step: int) -> tuple[float, ...]:
        """The same at each step."""
        rho = group["rho"]
        return rho, 1.0 - rho, group["eps"], group["lr"], group["weight_decay"]

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """See the class."""
        v, updates = moments
        rho, rest, eps, lr, decay = k
        g = descent(group, decay, g, p, t, u)
        np.multiply(v, rho, v)
        np.multiply(np.multiply(g, g, t), rest, t)
        np.add(v, t, v)
        np.sqrt(np.add(v, eps, t), t)
        np.divide(g, t, t)
        np.sqrt(np.add(updates, eps, u), u)  # g, which may be u, has served its purpose
        np.multiply(t, u, t)
        np.multiply(updates, rho, updates)
        np.multiply(np.multiply(t, t, u), rest, u)
        np.add(updates, u, updates)
        np.subtract(p, np.multiply(t, lr, t), p)
