"""Convolutions and transposed convolutions over one, two or three spatial dimensions, channels first.

Three bilinear maps close the circle: the convolution ``y = x ∗ w`` and its two gradients are each other's gradients,
so derivatives of any order stay inside this file:

    ============================  ===========  ====================  ====================
    map                           of           gradient to the first  gradient to the second
    ============================  ===========  ====================  ====================
    convolution                   x, w         input gradient        weight gradient
    input gradient (transposed)   dy, w        convolution           weight gradient
    weight gradient               x, dy        input gradient        convolution
    ============================  ===========  ====================  ====================

Each is computed as matrix products over blocks of columns ("im2col") that stay in the cache; columns are made again for
the backward pass rather than kept, so only ``x`` and ``w`` are saved.

Shapes: x (N, C, *spatial), w (O, C / groups, *kernel), y (N, O, *output). As in every deep-learning library this is
cross-correlation: kernels are not flipped.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .definition import Op, Sample, Tensor, apply, operation
from .elementwise import operand, together
from .shape import expand
from .windows import Setting, Windows, blocks, columns, fold, output_size, require_room, setting

Array = np.ndarray


class Convolution(Op):
    """Weighted sums over windows that slide across the input."""

    name = "convolution"
    formula = "y[n,o,p] = b[o] + Σ_{c,t} w[o,c,t] · x[n,c,p·stride + t·dilation − padding]"
    gate = "swaps, window by window: dX = dY spread back through w, dW = dY correlated with x; adds dY into db"
    gradients: ClassVar = {
        "x": "spread(g, weight); spread: each gradient of the output goes back through the weights to its window",
        "weight": "correlation(x, g); correlation: for each tap, the sum over all windows of input times gradient",
        "bias": "Σ_positions(g); Σ_positions: over batch and positions",
    }

    def forward(x, weight, bias=None, *, windows, groups):
        out = convolve(x, weight, windows, groups)
        if bias is not None:
            out += bias.reshape((-1, *[1] * len(windows.output)))
        return out

    def vjp_x(ctx, g, weight):
        return apply(ConvInputGradient, (g, weight), ctx.params)

    def vjp_weight(ctx, g, x):
        return apply(ConvWeightGradient, (x, g), ctx.params)

    def vjp_bias(ctx, g):
        return g.sum(axis=(0, *range(2, g.ndim)))

    def jvp_x(ctx, t, weight):
        return apply(Convolution, (t, weight), ctx.params)

    def jvp_weight(ctx, t, x):
        return apply(Convolution, (x, t), ctx.params)

    def jvp_bias(ctx, t):
        return expand(t.reshape((-1, *[1] * (len(ctx.shape) - 2))), ctx.shape)


class ConvInputGradient(Op):
    """A convolution's gradient to its input; read forwards, the transposed convolution."""

    name = "conv_input_gradient"
    formula = "dx[n,c,q] = Σ_{o,t} w[o,c,t] · dy[n,o,p]  over p with p·stride + t·dilation − padding = q"
    gate = "swaps: the gradient to dy is a convolution with w"

    def forward(g, weight, *, windows, groups):
        return spread_back(g, weight, windows, groups)

    def vjp_g(ctx, u, weight):
        return apply(Convolution, (u, weight), ctx.params)

    def vjp_weight(ctx, u, g):
        return apply(ConvWeightGradient, (u, g), ctx.params)


class ConvWeightGradient(Op):
    """A convolution's gradient to its weight: the input correlated with the upstream gradient."""

    name = "conv_weight_gradient"
    formula = "dw[o,c,t] = Σ_{n,p} dy[n,o,p] · x[n,c,p·stride + t·dilation − padding]"
    gate = "swaps: the gradient to dy is a convolution of x"

    def forward(x, g, *, windows, groups):
        return correlate(x, g, windows, groups)

    def vjp_x(ctx, u, g):
        return apply(ConvInputGradient, (g, u), ctx.params)

    def vjp_g(ctx, u, x):
        return apply(Convolution, (x, u), ctx.params)


# -- on arrays ------------------------------------------------------------------------------------------------------


def convolve(x: Array, weight: Array, windows: Windows, groups: int) -> Array:
    """Columns, then one matrix product a group and block."""
    n, outputs = len(x), weight.shape[0]
    matrix = np.ascontiguousarray(weight).reshape((groups, outputs // groups, -1))
    out = np.empty((n, outputs, *windows.output), np.result_type(x, weight))
    for part, cols in columns(x, windows):
        piece = out[part]
        cols = cols.reshape((groups, matrix.shape[2], -1))
        if len(piece) == 1:
            np.matmul(matrix, cols, out=piece.reshape((groups, outputs // groups, -1)))
        else:
            y = np.matmul(matrix, cols).reshape((outputs, len(piece), *windows.output))
            piece[...] = np.moveaxis(y, 0, 1)
    return out


def spread_back(g: Array, weight: Array, windows: Windows, groups: int) -> Array:
    """One matrix product a group and block gives columns, which are added back to where they were looked up."""
    matrix = np.ascontiguousarray(weight).reshape((groups, weight.shape[0] // groups, -1)).mT
    channels = groups * weight.shape[1]
    out = np.zeros((len(g), channels, *windows.input), np.result_type(g, weight))
    for part in blocks(out, windows):
        cols = np.matmul(matrix, _grouped(g[part], groups))
        piece = out[part]
        fold(cols.reshape((channels, *windows.kernel, len(piece), *windows.output)), piece, windows)
    return out


def correlate(x: Array, g: Array, windows: Windows, groups: int) -> Array:
    """Columns again, multiplied by the upstream gradient and summed over blocks."""
    channels, outputs = x.shape[1], g.shape[1]
    total = np.zeros((groups, outputs // groups, channels // groups * prod(windows.kernel)), np.result_type(x, g))
    for part, cols in columns(x, windows):
        total += np.matmul(_grouped(g[part], groups), cols.reshape((groups, total.shape[2], -1)).mT)
    return total.reshape((outputs, channels // groups, *windows.kernel))


def _grouped(g: Array, groups: int) -> Array:
    """Shape (samples, outputs, *output) as (groups, outputs / groups, samples · positions)."""
    return np.ascontiguousarray(np.moveaxis(g, 1, 0)).reshape((groups, g.shape[1] // groups, -1))


# -- public functions -----------------------------------------------------------------------------------------------


def _conv(
    name: str, dims: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    x, weight, bias, single = operands(name, dims, x, weight, bias)
    kernel = tuple(weight.shape[2:])
    stride = setting(name, "stride", stride, dims, 1)
    dilation = setting(name, "dilation", dilation, dims, 1)
    before, after = _padding(name, padding, kernel, stride, dilation)
    require_channels(name, x.shape[1], weight.shape[1] * group_count(name, groups), weight, groups)
    if weight.shape[0] % groups or (bias is not None and tuple(bias.shape) != (weight.shape[0],)):
        raise OperationError(
            f"{name} at {describe(mark())}: the weight {tuple(weight.shape)} makes {weight.shape[0]} output channels, "
            f"which groups={groups} must divide and the bias {None if bias is None else tuple(bias.shape)} must match."
        )
    spatial = tuple(x.shape[2:])
    sizes = zip(spatial, kernel, stride, before, after, dilation, strict=True)
    windows = Windows(kernel, stride, before, dilation, spatial, tuple(output_size(*s) for s in sizes))
    require_room(name, x.shape, windows)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    out = apply(Convolution, inputs, {"windows": windows, "groups": groups})
    return out.reshape(out.shape[1:]) if single else out


def operands(name: str, dims: int, x: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any, bool]:
    """Check ranks, bring dtypes together, and give a single sample a batch dimension."""
    x, weight = operand(x), operand(weight)
    if weight.ndim != dims + 2 or x.ndim not in (dims + 1, dims + 2):
        axes = ", ".join("DHW"[3 - dims :]) if dims > 1 else "L"
        raise OperationError(
            f"{name} at {describe(mark())}: needs an input of shape (N, C, {axes}) or (C, {axes}) and a weight with "
            f"{dims + 2} dimensions; got {tuple(x.shape)} and {tuple(weight.shape)}. Reshape the input, or add the "
            "missing dimension with unsqueeze."
        )
    x, weight, *given = together(x, weight, bias)
    single = x.ndim == dims + 1
    return (x.reshape((1, *x.shape)) if single else x), weight, given[0] if given else None, single


def group_count(name: str, groups: Any) -> int:
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise OperationError(
            f"{name} at {describe(mark())}: groups must be a whole number of at least 1; got {groups!r}."
        )
    return int(groups)


def require_channels(name: str, given: int, expected: int, weight: Any, groups: int) -> None:
    if given != expected:
        raise OperationError(
            f"{name} at {describe(mark())}: the input has {given} channels, but the weight {tuple(weight.shape)} with "
            f"groups={groups} takes {expected}. Change the layer's in_channels, or move channels to dimension 1."
        )


def _padding(
    name: str, padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after. ``"same"`` puts the odd one after, as PyTorch does."""
    if not isinstance(padding, str):
        both = setting(name, "padding", padding, len(kernel), 0)
        return both, both
    if padding == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if padding != "same" or set(stride) != {1}:
        raise OperationError(
            f"{name} at {describe(mark())}: padding is a number, 'valid', or 'same' (with stride 1 only); got "
            f"{padding!r} with stride {stride}."
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)


def draw(rng: np.random.Generator, x: Any, weight: Any, bias: int | None = None, **options: Any) -> Sample:
    """A sample from shapes."""
    shapes = [x, weight] if bias is None else [x, weight, (bias,)]
    return Sample(*[rng.normal(size=shape) for shape in shapes], **options)


def _conv1d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (2, 3, 7), (4, 3, 3), 4, padding=1)
    yield draw(rng, (3, 7), (2, 3, 2), stride=2, dilation=3)
    yield draw(rng, (1, 4, 6), (4, 2, 4), 4, padding="same", groups=2)
    yield draw(rng, (2, 2, 1), (3, 2, 1), padding="valid")


def _conv2d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (2, 2, 4, 5), (3, 2, 3, 3), 3)
    yield draw(rng, (2, 2, 5, 4), (3, 2, 3, 2), stride=2, padding=1)
    yield draw(rng, (1, 2, 6, 7), (2, 2, 2, 3), 2, stride=(3, 1), padding=(0, 2), dilation=(2, 3))
    yield draw(rng, (2, 3, 4, 4), (2, 3, 2, 3), padding="same")
    yield draw(rng, (2, 4, 3, 3), (6, 2, 2, 2), 6, groups=2)
    yield draw(rng, (1, 3, 4, 4), (3, 1, 3, 3), groups=3, padding="same")
    yield draw(rng, (2, 3, 2, 3), (4, 3, 1, 1), 4)
    yield draw(rng, (2, 3, 3), (2, 2, 2, 2))
    yield draw(rng, (0, 2, 3, 3), (1, 2, 2, 2), 1)


def _conv3d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (1, 2, 3, 4, 3), (2, 2, 2, 2, 2), 2, padding=(1, 0, 0), stride=(1, 2, 1))


@operation(Convolution, samples=_conv1d_samples)
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting | str = 0,
    dilation: Setting = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over one spatial dimension.

    Args:
        input: shape (N, C, L), or (C, L) for a single sample.
        weight: shape (O, C / groups, K).
        bias: shape (O,), or None.

    The other arguments, the errors and the formula are those of :func:`conv2d`.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@operation(Convolution, samples=_conv2d_samples)
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting | str = 0,
    dilation: Setting = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over two spatial dimensions (cross-correlation: kernels are not flipped).

    Args:
        input: shape (N, C, H, W), or (C, H, W) for a single sample.
        weight: shape (O, C / groups, KH, KW).
        bias: shape (O,), or None.
        stride: distance between windows, one number or one a dimension.
        padding: zeros on both sides, ``"valid"`` for none, or ``"same"`` to keep the size (with stride 1).
        dilation: distance between the taps of the kernel.
        groups: the channels are cut into so many groups that do not see each other; C for depthwise convolution.

    Returns:
        Shape (N, O, OH, OW) with OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1, in the promoted dtype.

    Raises:
        OperationError: a wrong number of dimensions or channels, groups that do not divide them, or a kernel larger
            than the padded input.

    >>> import backlit as bl
    >>> bl.conv2d(bl.ones(1, 1, 3, 3), bl.ones(1, 1, 3, 3), padding=1)
    tensor([[[[4., 6., 4.],
              [6., 9., 6.],
              [4., 6., 4.]]]])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@operation(Convolution, samples=_conv3d_samples)
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting | str = 0,
    dilation: Setting = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over three spatial dimensions: input (N, C, D, H, W), weight (O, C / groups, KD, KH, KW).

    The other arguments, the errors and the formula are those of :func:`conv2d`.
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
