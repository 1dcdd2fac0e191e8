"""RMSprop: steps divided by the root of a running mean square."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import ClassVar

import numpy as np

from .blocks import Array, Group
from .optimizer import Limits, Optimizer, Params, descent, reject

_ZERO = np.zeros((), np.float32)


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6 of "Neural Networks for Machine Learning", 2012; centred: Graves, 2013).

    ``v ← α v + (1 − α) g²``; ``d = √v + ε``, or with ``centered`` ``a ← α a + (1 − α) g`` and ``d = √(v − a²) + ε``;
    then ``p ← p − lr · g / d``, or with momentum ``b ← momentum · b + g / d`` and ``p ← p − lr · b``. Here
    ``g = ∇ + weight_decay · p``. Where rounding would make the variance ``v − a²`` negative it is taken as zero
    (PyTorch gives NaN there).

    Args:
        params: parameters or parameter groups; see :class:`Optimizer`.
        lr: learning rate.
        alpha: α, how much of the running means is kept, in [0, 1].
        eps: ε, added to the root for safety.
        weight_decay: factor of the L2 penalty.
        momentum, centered: as above.
        maximize: go up instead of down.
        foreach: PyTorch's hint about speed; it has no effect here.

    ``state[p]`` holds ``step``, ``square_avg``, and where used ``momentum_buffer`` and ``grad_avg``, in float32 for
    float16 parameters.
    """

    limits: ClassVar[Limits] = {
        "lr": (0.0, inf),
        "alpha": (0.0, inf),
        "eps": (0.0, inf),
        "weight_decay": (0.0, inf),
        "momentum": (0.0, inf),
    }

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        reject("RMSprop", capturable=capturable, differentiable=differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def slots(self, group: Group) -> Mapping[str, float]:
        """The running mean square; the momentum; the running mean."""
        wanted = {"square_avg": True, "momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        return {name: 0.0 for name, used in wanted.items() if used}

    def constants(self, group: Group, step: int) -> tuple[float, ...]:
        """The same at each step."""
        alpha = group["alpha"]
        return alpha, 1.0 - alpha, group["eps"], group["lr"], group["momentum"], group["weight_decay"]

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """See the class."""
        v, *others = moments
        alpha, rest, eps, lr, momentum, decay = k
        g = descent(group, decay, g, p, t, u)
        np.multiply(v, alpha, v)
        np.multiply(np.multiply(g, g, t), rest, t)
        np.add(v, t, v)
        square = v
        if group["centered"]:
            mean = others[-1]
            np.multiply(mean, alpha, mean)
            np.add(mean, np.multiply(g, rest, t), mean)
            square = np.subtract(v, np.multiply(mean, mean, t), t)
            np.maximum(square, _ZERO, out=square)
        np.add(np.sqrt(square, t), eps, t)
        np.divide(g, t, t)
        if group["momentum"]:
            velocity = others[0]
            np.multiply(velocity, momentum, velocity)
            t = np.multiply(np.add(velocity, t, velocity), lr, t)
        else:
            np.multiply(t, lr, t)
        np.subtract(p, t, p)
