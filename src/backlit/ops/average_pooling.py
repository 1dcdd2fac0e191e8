"""Average pooling over one, two or three spatial dimensions, with fixed windows or a fixed output size.

Windows are products of ranges, so sums over them are taken one dimension at a time: a k × k average costs 2k additions
an output instead of k².
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand
from .windows import Setting, Windows, along, pooling_windows, require_rank, seen_by_tap, setting

Array = np.ndarray


class Shares(NamedTuple):
    """Windows that cut an input of size n into o parts: part i goes from ⌊i·n/o⌋ up to ⌈(i+1)·n/o⌉."""

    input: tuple[int, ...]
    output: tuple[int, ...]


class AvgPool(Op):
    """The mean of each window."""

    name = "avg_pool"
    formula = "y[p] = 1/n Σ_t x[p·stride + t − padding]"
    gate = "copies, divided by the number of elements averaged"
    gradients: ClassVar = {"x": "spread(g); spread: shared out evenly over each window"}

    def forward(x, *, windows, divisor):
        dims = len(windows.output)
        if getattr(windows, "kernel", None) == windows.input:  # one window holds everything
            x = np.add.reduce(x.reshape((*x.shape[:-dims], -1)), axis=-1).reshape((*x.shape[:-dims], *windows.output))
            return np.divide(x, divisor, dtype=x.dtype)
        for i in reversed(range(dims)):
            x = _sums(x, x.ndim - dims + i, pieces(windows, i), windows.output[i])
        return np.divide(x, divisor, dtype=x.dtype)

    def vjp_x(ctx, g):
        return apply(AvgSpread, (g,), ctx.params)


class AvgSpread(Op):
    """Upstream gradients divided among the elements that were averaged."""

    name = "avg_spread"
    formula = "dx[q] = Σ dy[p] / n  over the windows p that hold q"
    gate = "averages over the windows"

    def forward(g, *, windows, divisor):
        dims = len(windows.output)
        g = np.divide(g, divisor, dtype=g.dtype)
        for i in range(dims):
            g = _spread(g, g.ndim - dims + i, pieces(windows, i), windows.input[i])
        return g

    def vjp_g(ctx, u):
        return apply(AvgPool, (u,), ctx.params)


def _sums(x: Array, axis: int, parts: Any, size: int) -> Array:
    """Sums over windows along one axis."""
    at = (slice(None),) * axis
    out = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    for seen, seeing in parts:
        piece, target = x[(*at, seen)], out[(*at, seeing)]
        target += piece if piece.shape == target.shape else np.add.reduce(piece, axis=axis, keepdims=True)
    return out


def _spread(g: Array, axis: int, parts: Any, size: int) -> Array:
    """The transpose of :func:`_sums`."""
    at = (slice(None),) * axis
    out = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    for seen, seeing in parts:
        out[(*at, seen)] += g[(*at, seeing)]
    return out


@lru_cache(maxsize=512)
def pieces(windows: Windows | Shares, dim: int) -> tuple[tuple[slice, slice], ...]:
    """The windows along one dimension as pairs of input and output slices: by tap or by output, whichever are fewer."""
    size, outputs = windows.input[dim], windows.output[dim]
    if isinstance(windows, Shares):
        bounds = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
    else:
        kernel, stride, padding = windows.kernel[dim], windows.stride[dim], windows.padding[dim]
        if kernel < outputs:
            found = [seen_by_tap(t - padding, stride, size, outputs) for t in range(kernel)]
            return tuple(pair for pair in found if pair is not None)
        bounds = [(max(0, i * stride - padding), min(size, i * stride - padding + kernel)) for i in range(outputs)]
    return tuple((slice(start, end), slice(i, i + 1)) for i, (start, end) in enumerate(bounds))


@lru_cache(maxsize=512)
def counts(windows: Windows | Shares, padded: bool) -> Any:
    """How many elements each window averages; ``padded`` counts padding (but not what hangs over the end)."""
    total: Any = 1.0
    for axis in range(len(windows.output)):
        size, outputs = windows.input[axis], np.arange(windows.output[axis])
        if isinstance(windows, Shares):
            lengths = -(-(outputs + 1) * size // windows.output[axis]) - outputs * size // windows.output[axis]
        else:
            start = outputs * windows.stride[axis] - windows.padding[axis]
            end = np.minimum(start + windows.kernel[axis], size + windows.padding[axis])
            lengths = end - start if padded else np.minimum(end, size) - np.maximum(start, 0)
        total = total * along(lengths, axis, len(windows.output))
    return total.flat[0] if (total == total.flat[0]).all() else total


def _avg_pool(
    name: str, dims: int, x: Any, kernel: Any, stride: Any, padding: Any, ceil: bool, padded: bool, divisor: Any = None
) -> Any:
    x = operand(x)
    windows = pooling_windows(name, x, dims, kernel, stride, padding, 1, ceil)
    if divisor == 0:
        raise OperationError(f"{name} at {describe(mark())}: divisor_override cannot be 0.")
    divisor = counts(windows, bool(padded)) if divisor is None else float(divisor)
    return apply(AvgPool, (x,), {"windows": windows, "divisor": divisor})


def _adaptive(name: str, dims: int, x: Any, output_size: Any) -> Any:
    x = operand(x)
    require_rank(name, x, dims)
    spatial = tuple(x.shape[-dims:])
    asked = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    kept = tuple(n if o is None else o for n, o in zip(spatial, asked, strict=False))
    output = setting(name, "output_size", kept if len(asked) == dims else asked, dims, 1)
    windows: Windows | Shares = Shares(spatial, output)
    if all(n % o == 0 for n, o in zip(spatial, output, strict=True)):
        size = tuple(n // o for n, o in zip(spatial, output, strict=True))
        windows = Windows(size, size, (0,) * dims, (1,) * dims, spatial, output)
    return apply(AvgPool, (x,), {"windows": windows, "divisor": counts(windows, False)})


def _samples1d(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(2, 3, 6)), 2)
    yield Sample(rng.normal(size=(2, 7)), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)


def _samples2d(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(2, 2, 4, 6)), 2)
    yield Sample(rng.normal(size=(1, 2, 5, 5)), 3, stride=2, padding=1)
    yield Sample(rng.normal(size=(1, 2, 5, 6)), (3, 2), stride=(2, 1), padding=1, count_include_pad=False)
    yield Sample(rng.normal(size=(2, 5, 4)), 3, stride=2, ceil_mode=True, padding=1)
    yield Sample(rng.normal(size=(1, 1, 4, 4)), 2, divisor_override=3)
    yield Sample(rng.normal(size=(0, 2, 4, 4)), 2)


def _samples3d(rng: np.random.Generator) -> Any:
    yield Sample(rng.normal(size=(1, 2, 3, 4, 2)), (2, 3, 1), stride=1, padding=(1, 1, 0))


def _adaptive_samples(dims: int) -> Any:
    def samples(rng: np.random.Generator) -> Any:
        yield Sample(rng.normal(size=(2, 2, *(5, 4, 6)[:dims])), (3, 2, 4)[:dims])
        yield Sample(rng.normal(size=(2, *(4, 6, 2)[:dims])), 2)
        yield Sample(rng.normal(size=(1, 2, *(3, 2, 2)[:dims])), (None, 4, 1)[:dims])
        yield Sample(rng.normal(size=(2, 2, *(3, 4, 2)[:dims])), 1)

    return samples


@operation(AvgPool, samples=_samples1d)
def avg_pool1d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of windows along the last dimension of an input (N, C, L) or (C, L); see :func:`avg_pool2d`."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@operation(AvgPool, samples=_samples2d)
def avg_pool2d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        input: shape (N, C, H, W), or (C, H, W) for a single sample.
        kernel_size: size of the windows, one number or one a dimension.
        stride: distance between windows; the kernel's size where not given.
        padding: zeros on both sides, at most half a kernel.
        ceil_mode: let a last window hang over the end; what hangs over does not count.
        count_include_pad: whether the padding's zeros count as elements.
        divisor_override: divide by this instead of by the number of elements.

    Returns:
        Shape (N, C, OH, OW) with OH = ⌊(H + 2·padding − KH) / stride⌋ + 1 (⌈⌉ with ``ceil_mode``).

    Raises:
        OperationError: a wrong number of dimensions, too much padding, or a kernel larger than the padded input.

    >>> import backlit as bl
    >>> bl.avg_pool2d(bl.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    tensor([[[2.5]]])
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@operation(AvgPool, samples=_samples3d)
def avg_pool3d(
    input: Any,
    kernel_size: Setting,
    stride: Setting | None = None,
    padding: Setting = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of windows over the last three dimensions; see :func:`avg_pool2d`."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@operation(AvgPool, samples=_adaptive_samples(1))
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """Means over ``output_size`` equal shares of the last dimension; see :func:`adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool1d", 1, input, output_size)


@operation(AvgPool, samples=_adaptive_samples(2))
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Means over windows that cut the input into a grid of the wanted size, overlapping where it does not divide.

    Args:
        input: shape (N, C, H, W), or (C, H, W) for a single sample.
        output_size: one number or a pair; None keeps the input's size.

    Returns:
        Shape (N, C, *output_size).

    >>> import backlit as bl
    >>> bl.adaptive_avg_pool2d(bl.ones(1, 3, 5, 7), (2, None)).shape
    (1, 3, 2, 7)
    """
    return _adaptive("adaptive_avg_pool2d", 2, input, output_size)


@operation(AvgPool, samples=_adaptive_samples(3))
def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """Means over a grid of windows on the last three dimensions; see :func:`adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool3d", 3, input, output_size)
