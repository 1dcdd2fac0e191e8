"""Padding: a border of a constant, or of reflected, repeated or wrapped-around values."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..errors import UnsupportedError
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .misuse import misuse
from .slicing import Slice

Widths = tuple[tuple[int, int], ...]


class Pad(Op):
    """A border of one value around a tensor; negative widths cut off instead."""

    formula = "y = x inside, value in the border"
    gate = "routes: the inside passes, the border is dropped"
    gradients: ClassVar = {"x": "inside(g); inside: without the border"}

    def forward(x, *, widths, value):
        inside = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True))]
        grown = [(max(a, 0), max(b, 0)) for a, b in widths]
        shape = tuple(n + a + b for n, (a, b) in zip(inside.shape, grown, strict=True))
        out = np.full(shape, value, x.dtype) if shape != inside.shape else np.empty(shape, x.dtype)
        out[tuple(slice(a, a + n) for n, (a, _) in zip(inside.shape, grown, strict=True))] = inside
        return out

    def vjp_x(ctx, g):
        widths = ctx.params["widths"]
        if min(min(pair) for pair in widths) >= 0:  # the inside can be handed down as a view
            key = tuple(slice(a, n - b) for n, (a, b) in zip(ctx.shape, widths, strict=True))
            return apply(Slice, (g,), {"key": (*key, ...)})
        return apply(Pad, (g,), {"widths": tuple((-a, -b) for a, b in widths), "value": 0})

    def jvp_x(ctx, t):
        return apply(Pad, (t,), {**ctx.params, "value": 0})


def _widths(pad: Any, shape: tuple[int, ...]) -> Widths:
    """PyTorch's flat list, last dimension first, as one pair a dimension."""
    flat = [int(n) for n in pad]
    if len(flat) % 2 or len(flat) > 2 * len(shape):
        raise misuse(
            "pad",
            f"the widths {tuple(flat)} must be pairs (before, after), the last dimension first, "
            f"at most one pair a dimension of the shape {tuple(shape)}.",
        )
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    widths = ((0, 0),) * (len(shape) - len(pairs)) + tuple(reversed(pairs))
    if any(a + n + b < 0 or min(a, b) < -n for n, (a, b) in zip(shape, widths, strict=True)):
        raise misuse("pad", f"the widths {tuple(flat)} cut more off {tuple(shape)} than there is.")
    return widths


def _source(mode: str, dim: int, size: int, before: int, after: int) -> np.ndarray:
    """Which position of a dimension each position of the padded one takes its value from."""
    place = np.arange(-before, size + after)
    most = {"reflect": size - 1, "circular": size, "replicate": np.inf if size else 0}[mode]
    if max(before, after) > most:
        raise misuse(
            "pad",
            f"mode {mode!r} can pad dimension {dim} of size {size} by at most {most} on each side, "
            f"asked were {(before, after)}.",
        )
    if mode == "replicate":
        return np.clip(place, 0, size - 1)
    if mode == "circular":  # what is cut off does not come back
        kept = np.arange(max(-before, 0), size - max(-after, 0))
        return kept[np.arange(-max(before, 0), len(kept) + max(after, 0)) % max(len(kept), 1)]
    place = np.abs(place)
    return np.where(place < size, place, 2 * (size - 1) - place)


@operation(
    Pad,
    samples=lambda rng: [
        Sample(rng.normal(size=(2, 3)), (1, 2)),
        Sample(rng.normal(size=(2, 3)), (1, -1, 0, 2), value=1.5),
        Sample(rng.normal(size=(3, 4)), (-1, -1)),
        Sample(rng.normal(size=(2, 3, 4)), (2, 3), mode="reflect"),
        Sample(rng.normal(size=(2, 3, 4)), (5, 1, 0, 2), mode="replicate"),
        Sample(rng.normal(size=(2, 3, 4)), (4, 1, 1, -1), mode="circular"),
    ],
)
def pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """A border around a tensor.

    Args:
        x: any shape.
        pad: widths in pairs (before, after), the *last* dimension first; dimensions not named are left alone. Negative
            widths cut off.
        mode: ``"constant"``; ``"reflect"`` mirrors at the edge without repeating it; ``"replicate"`` repeats the edge;
            ``"circular"`` wraps around.
        value: what a constant border holds; 0 if not given.

    >>> import backlit as bl
    >>> bl.ops.pad(bl.tensor([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
    tensor([3., 2., 1., 2., 3., 2.])
    """
    x = operand(x)
    widths = _widths(pad, x.shape)
    if mode == "constant":
        return apply(Pad, (x,), {"widths": widths, "value": 0 if value is None else value})
    if mode not in ("reflect", "replicate", "circular"):
        raise UnsupportedError(
            f"pad: mode {mode!r} is not known; use 'constant', 'reflect', 'replicate' or 'circular'."
        )
    if value is not None:
        raise misuse("pad", f"a value goes with mode 'constant' only, not with {mode!r}.")
    from .selecting import index_select

    for dim, (before, after) in enumerate(widths):
        if before or after:
            x = index_select(x, dim, _source(mode, dim, x.shape[dim], before, after))
    return x
