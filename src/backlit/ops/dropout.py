"""Dropout: entries set to zero at random in training, and the rest scaled up so that expectations stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OperationError
from ..graph import last_id
from ..random import Generator, default_generator
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import operand
from .inplace import become

Array = np.ndarray


class Dropout(Op):
    """Entries dropped with probability ``p``, the others divided by 1 − p. The mask is kept, one byte an entry.

    (Srivastava et al. 2014.) Along dimensions that are 1 in ``mask_shape``, entries are dropped together.
    """

    name = "dropout"
    formula = "y = m x / (1 − p),  m = 0 with probability p, else 1"
    gate = "passes where an entry was kept, scaled by 1 / (1 − p); blocks where it was dropped"
    has_extra = True

    @classmethod
    def gradient_form(cls, name, ctx):
        return f"g ⊙ (m/(1 − p)); m: 1 where an entry was kept and 0 where it was dropped, p = {ctx.params['p']:g}"

    def forward(x, *, p, mask_shape, generator):
        kept = (generator or default_generator).chances(1.0 - p, mask_shape)
        return masked(x, kept, p), kept

    @classmethod
    def again(cls, extra, x, *, p, **params):
        if extra is None:
            raise LookupError("the dropped entries are no longer known")
        return masked(x, extra, p), extra

    def vjp_x(ctx, g):
        return masked(g, ctx.extra, ctx.params["p"])

    def jvp_x(ctx, t):
        return masked(t, ctx.extra, ctx.params["p"])


def masked(x: Any, kept: Array, p: float) -> Any:
    """``x`` where kept, times 1 / (1 − p); zero elsewhere. Dropped NaN and infinities give NaN, as in PyTorch."""
    factor = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    if isinstance(x, Tensor):
        return x * constant(np.multiply(kept, factor, dtype=x.dtype))
    out = x * kept
    out *= x.dtype.type(factor)
    return out


def _dropout(
    name: str, x: Any, p: float, training: bool, inplace: bool, together: int, generator: Generator | None
) -> Any:
    """``together``: over how many of the last dimensions entries share their fate."""
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
        raise OperationError(f"{name} at {describe(mark())}: p is a probability between 0 and 1; got {p!r}.")
    if not training or p == 0:
        return x
    if x.dtype.kind != "f":
        raise OperationError(f"{name} at {describe(mark())}: the input is {x.dtype.name}; convert it with .float().")
    mask_shape = (*x.shape[: x.ndim - together], *[1] * together)
    since = last_id()
    out = apply(Dropout, (x,), {"p": float(p), "mask_shape": mask_shape, "generator": generator})
    return become(x, out, since) if inplace else out


def _channels(name: str, x: Any, ranks: tuple[int, ...]) -> Any:
    x = operand(x)
    if x.ndim not in ranks:
        raise OperationError(
            f"{name} at {describe(mark())}: needs an input with {' or '.join(map(str, ranks))} dimensions; "
            f"got shape {tuple(x.shape)}."
        )
    return x


def _samples(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(3, 4)))
    yield Sample(rng.normal(size=(5,)), 0.2, training=True)
    yield Sample(rng.normal(size=(3, 4)), 0.7, training=False)
    yield Sample(rng.normal(size=(3, 4)), 0.0)
    yield Sample(rng.normal(size=(3, 4)), 1.0)
    yield Sample(rng.normal(size=()), 0.1)
    yield Sample(rng.normal(size=(0, 3)), 0.1)


def _channel_samples(*shapes: tuple[int, ...]) -> Any:
    return lambda rng: [Sample(rng.normal(size=shape), p) for shape, p in zip(shapes, (0.5, 0.3), strict=True)]


@operation(Dropout, samples=_samples)
def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Each entry set to zero with probability ``p``, the others divided by 1 − ``p``.

    Args:
        input: any shape, floating.
        p: the probability of dropping an entry.
        training: if false, the input is returned as it is.
        inplace: write the result into the input and return it.
        generator: where the mask is drawn from; the default generator where not given.

    Raises:
        OperationError: ``p`` is not a probability.
    """
    return _dropout("dropout", operand(input), p, training, inplace, 0, generator)


@operation(Dropout, samples=_channel_samples((2, 3, 4), (3, 2)))
def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Whole channels of an input (N, C, L) or (C, L) set to zero with probability ``p``; see :func:`dropout`."""
    return _dropout("dropout1d", _channels("dropout1d", input, (2, 3)), p, training, inplace, 1, generator)


@operation(Dropout, samples=_channel_samples((2, 3, 2, 2), (2, 3, 2)))
def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Whole channels of an input (N, C, H, W) set to zero with probability ``p``; see :func:`dropout`.

    An input with three dimensions is read as (N, C, L), as PyTorch does.
    """
    x = _channels("dropout2d", input, (3, 4))
    return _dropout("dropout2d", x, p, training, inplace, x.ndim - 2, generator)


@operation(Dropout, samples=_channel_samples((2, 2, 1, 2, 2), (3, 2, 1, 2)))
def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Whole channels of an input (N, C, D, H, W) or (C, D, H, W) dropped together; see :func:`dropout`."""
    return _dropout("dropout3d", _channels("dropout3d", input, (4, 5)), p, training, inplace, 3, generator)
