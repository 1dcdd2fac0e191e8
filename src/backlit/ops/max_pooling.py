"""Max pooling over one, two or three spatial dimensions.

The max gate routes: each window hands its upstream gradient to the one input that won. Which one that was is remembered
as the number of the winning tap within the window, one byte an output for kernels of up to 256 taps.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from ..graph import mode
from .definition import Op, Sample, Tensor, apply, constant, operation
from .elementwise import operand
from .windows import Setting, Windows, along, pad, pooling_windows, views

Array = np.ndarray


class MaxPool(Op):
    """The largest value in each window; NaN counts as larger than everything."""

    name = "max_pool"
    formula = "y[p] = max_t x[p·stride + t·dilation − padding]"
    gate = "routes: the first largest input of each window receives the whole upstream gradient"
    gradients: ClassVar = {"x": "routed(g); routed: to the first largest entry of each window"}
    domain = "all real inputs; not differentiable where two inputs of a window are equal and largest"
    has_extra = True

    def forward(x, *, windows):
        return largest(x, windows)

    def vjp_x(ctx, g):
        return apply(MaxRoute, (g,), {"winners": ctx.extra, "windows": ctx.params["windows"]})

    def jvp_x(ctx, t):
        return apply(MaxPick, (t,), {"winners": ctx.extra, "windows": ctx.params["windows"]})


class MaxRoute(Op):
    """Upstream gradients sent to the winners; what several windows send to one input adds up."""

    name = "max_route"
    formula = "dx[q] = Σ dy[p]  over the windows p won by q"
    gate = "picks the gradients of the winners"

    def forward(g, *, winners, windows):
        out = np.zeros((*g.shape[: g.ndim - len(windows.input)], *windows.input), g.dtype)
        np.add.at(out.reshape(-1), _places(winners, windows), g.reshape(-1))
        return out

    def vjp_g(ctx, u):
        return apply(MaxPick, (u,), ctx.params)


class MaxPick(Op):
    """The values at the winners' places."""

    name = "max_pick"
    formula = "y[p] = x[winner of window p]"
    gate = "routes to the winners"

    def forward(x, *, winners, windows):
        return x.reshape(-1)[_places(winners, windows)].reshape(winners.shape)

    def vjp_x(ctx, u):
        return apply(MaxRoute, (u,), ctx.params)


def largest(x: Array, windows: Windows) -> tuple[Array, Array]:
    """The maxima, and the numbers of the taps that hold them (the first among equals; the last NaN, as in PyTorch)."""
    lead = x.shape[: x.ndim - len(windows.input)]
    if windows.overhang:
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        x = pad(x, np.full((*lead, *windows.span), lowest, x.dtype), windows)
    winners = np.empty((*lead, *windows.output), np.uint8 if prod(windows.kernel) <= 256 else np.int32)
    winners[...] = _first(windows)
    (_, part), *rest = views(x, windows)
    best = part.copy()
    for number, part in rest:
        if part.strides[-1] != part.itemsize:
            part = part.copy()  # read strided memory once, not twice
        larger = (part > best).view(np.uint8)
        np.maximum(best, part, out=best)
        # Numbers grow, so the latest tap that was larger than all before it is the largest number.
        np.maximum(winners, np.multiply(larger, number, dtype=winners.dtype), out=winners)
    if best.dtype.kind == "f" and np.isnan(best).any():
        for number, part in views(x, windows):
            np.maximum(winners, np.multiply(np.isnan(part), number, dtype=winners.dtype), out=winners)
    return best, winners


def _first(windows: Windows) -> Any:
    """For each window the number of its first tap inside the input, which wins when all values are -inf."""
    first: Any = 0
    if any(windows.padding):
        for axis, (k, s, p, d, _, o) in enumerate(zip(*windows, strict=True)):
            outside = np.minimum(np.arange(o) * s - p, 0)
            first = first * k + along(-(outside // d), axis, len(windows.output))
    return first


def flat_winners(winners: Array, windows: Windows) -> Array:
    """The winners as positions in the flattened spatial input (int64), the form in which PyTorch gives them."""
    by_tap: Any = np.zeros(1, np.int64)
    by_window: Any = 0
    for axis, (k, s, p, d, n, o) in enumerate(zip(*windows, strict=True)):
        by_tap = (by_tap[:, None] * n + np.arange(k) * d).reshape(-1)
        by_window = by_window * n + along(np.arange(o) * s - p, axis, len(windows.output))
    flat = by_tap[winners]
    flat += by_window
    return flat


def _places(winners: Array, windows: Windows) -> Array:
    """The winners as positions in the whole flattened input."""
    flat = flat_winners(winners, windows).reshape((-1, prod(windows.output)))
    flat += np.arange(len(flat))[:, None] * prod(windows.input)
    return flat.reshape(-1)


def _max_pool(
    name: str, dims: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: bool
) -> Any:
    x = operand(x)
    windows = pooling_windows(name, x, dims, kernel, stride, padding, dilation, ceil)
    if not indices:
        return apply(MaxPool, (x,), {"windows": windows})
    _, winners = largest(x._data if isinstance(x, Tensor) else x, windows)
    places = flat_winners(winners, windows)
    out = apply(MaxPick, (x,), {"winners": winners, "windows": windows})
    if mode.tracer is not None:
        mode.tracer.refuse("max_pool with return_indices=True")
    return out, (constant(places) if isinstance(out, Tensor) else places)


def _distinct(rng: np.random.Generator, *shape: int) -> Array:
    """Values at least 0.1 apart, so that small steps change no winner."""
    return 0.1 * rng.permutation(prod(shape)).reshape(shape).astype(np.float64) - 1.0


def _samples1d(rng: np.random.Generator) -> Any:
    yield Sample(_distinct(rng, 2, 3, 6), 2)
    yield Sample(_distinct(rng, 2, 7), 3, stride=2, padding=1, ceil_mode=True)


def _samples2d(rng: np.random.Generator) -> Any:
    yield Sample(_distinct(rng, 2, 2, 4, 6), 2)
    yield Sample(_distinct(rng, 1, 2, 5, 5), 3, stride=2, padding=1)
    yield Sample(_distinct(rng, 1, 1, 6, 5), (3, 2), stride=(1, 2), dilation=(2, 1))
    yield Sample(_distinct(rng, 1, 2, 5, 4), (2, 3), stride=3, padding=(1, 0), ceil_mode=True)
    yield Sample(_distinct(rng, 2, 5, 5), 2, ceil_mode=True)
    yield Sample(_distinct(rng, 1, 1, 4, 4), 3, stride=1, return_indices=True)
    yield Sample(np.zeros((0, 2, 4, 4)), 2)


def _samples3d(rng: np.random.Generator) -> Any:
    yield Sample(_distinct(rng, 1, 2, 2, 4, 3), (2, 2, 1), stride=(1, 2, 1), padding=(1, 0, 0))


@operation(MaxPool, samples=_samples1d)
def max_pool1d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in windows along the last dimension of an input (N, C, L) or (C, L); see :func:`max_pool2d`."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@operation(MaxPool, samples=_samples2d)
def max_pool2d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in each window.

    Args:
        input: shape (N, C, H, W), or (C, H, W) for a single sample.
        kernel_size: size of the windows, one number or one a dimension.
        stride: distance between windows; the kernel's size where not given.
        padding: positions added on both sides, at most half a kernel; they never win.
        dilation: distance between the taps of a window.
        ceil_mode: let a last window hang over the end.
        return_indices: also give the winners' positions in the flattened H × W plane (int64).

    Returns:
        Shape (N, C, OH, OW) with OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1 (⌈⌉ with ``ceil_mode``);
        a pair of it and the indices with ``return_indices``.

    Raises:
        OperationError: a wrong number of dimensions, too much padding, or a kernel larger than the padded input.

    >>> import backlit as bl
    >>> bl.max_pool2d(bl.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    tensor([[[4.]]])
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@operation(MaxPool, samples=_samples3d)
def max_pool3d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    dilation: Setting = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in windows over the last three dimensions; see :func:`max_pool2d`."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
