"""Activations whose slope or gate is an input too: PReLU, and the gated linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import _sigmoid
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import LIBRARY, NUMPY, Elementwise, match, operand
from .misuse import misuse
from .reduction import floating, one_axis


class PReLU(Elementwise):
    """Rectifier with a learned slope below 0 (He et al. 2015)."""

    name = "prelu"
    formula = "y = x where x > 0, else w x"
    gate = "passes where x > 0, elsewhere scales by w, whose gradient gathers the negative x"
    domain = "kink at 0, where the slope w is used"

    def value(s, x, weight):
        return s.where(x > 0, x, weight * x)

    def slope_x(s, x, weight):
        return s.where(x > 0, 1.0, weight)

    def slope_weight(s, x):
        return s.where(x > 0, 0.0, x)


def _prelu_samples(rng: np.random.Generator) -> Any:
    for shape, weights in (((3, 4), 1), ((2, 3, 2), 3), ((3,), 1), ((), 1), ((0, 2), 2)):
        yield Sample(PReLU.draw(rng, shape) + np.copysign(0.1, rng.normal(size=shape)), rng.normal(size=weights))


@operation(PReLU, samples=_prelu_samples)
def prelu(input: Any, weight: Any) -> Tensor:
    """``x`` where positive, ``weight · x`` elsewhere.

    Args:
        input: any shape.
        weight: one number, or one for each channel (dimension 1 of the input), in a tensor with one dimension.

    Raises:
        OperationError: there is neither one weight nor one a channel.
    """
    x, weight = match(floating("prelu", input), operand(weight))
    if weight.shape not in ((), (1,)):
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.shape != (channels,):
            raise misuse(
                "prelu",
                f"the weight has shape {tuple(weight.shape)}; the input {tuple(x.shape)} has {channels} channels. "
                "Use one weight, or one a channel.",
            )
        weight = weight.reshape((-1, *(1,) * (x.ndim - 2)))
    elif x.ndim == 0:
        weight = weight.reshape(())
    return apply(PReLU, (x, weight))


class GLU(Op):
    """The first half of a dimension times the sigmoid of the second (Dauphin et al. 2017). Only the input is kept."""

    name = "glu"
    formula = "y = a σ(b),  x = [a, b]"
    gate = "a receives the share σ(b); b what σ(b) would change, a σ(b)(1 − σ(b))"

    def forward(x, *, axis):
        a, b = np.split(x, 2, axis)
        return a * _sigmoid(NUMPY, b)

    def vjp_x(ctx, g, x):
        a, share, slope = _halves(x, ctx.params["axis"])
        return LIBRARY.cat([g * share, g * (a * slope)], ctx.params["axis"])

    def jvp_x(ctx, t, x):
        axis = ctx.params["axis"]
        a, share, slope = _halves(x, axis)
        da, db = LIBRARY.chunk(t, 2, axis)
        return da * share + db * (a * slope)


def _halves(x: Any, axis: int) -> tuple[Any, Any, Any]:
    """The first half; the sigmoid of the second, and its slope."""
    a, b = LIBRARY.chunk(x, 2, axis)
    share = LIBRARY.sigmoid(b)
    return a, share, share * (1.0 - share)


def _glu_samples(rng: np.random.Generator) -> Any:
    yield from (Sample(rng.normal(size=(3, 4))), Sample(rng.normal(size=(4, 3)), 0), Sample(rng.normal(size=(0, 2))))
    yield Sample(rng.normal(size=(2, 2, 3)), -2)


@operation(GLU, samples=_glu_samples)
def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half of dimension ``dim``, gated by the sigmoid of the second half.

    Raises:
        OperationError: the dimension cannot be halved.

    >>> import backlit as bl
    >>> bl.nn.functional.glu(bl.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])
    """
    x = floating("glu", input)
    axis = one_axis("glu", x, dim) if x.ndim else None
    if axis is None or x.shape[axis] % 2:
        raise misuse("glu", f"dimension {dim} of an input of shape {tuple(x.shape)} cannot be halved.")
    return apply(GLU, (x,), {"axis": axis})
