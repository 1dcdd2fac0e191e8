"""Transposed convolutions: the gradient of a convolution to its input, used as a layer that makes maps larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OperationError
from ..source import describe, mark
from .convolution import ConvInputGradient, draw, group_count, operands, require_channels
from .definition import Tensor, apply, operation
from .windows import Setting, Windows, setting


def _conv_transpose(
    name: str,
    dims: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Any:
    x, weight, bias, single = operands(name, dims, x, weight, bias)
    kernel = tuple(weight.shape[2:])
    stride = setting(name, "stride", stride, dims, 1)
    padding = setting(name, "padding", padding, dims, 0)
    extra = setting(name, "output_padding", output_padding, dims, 0)
    dilation = setting(name, "dilation", dilation, dims, 1)
    require_channels(name, x.shape[1], weight.shape[0], weight, groups)
    outputs = weight.shape[1] * group_count(name, groups)
    if weight.shape[0] % groups or (bias is not None and tuple(bias.shape) != (outputs,)):
        raise OperationError(
            f"{name} at {describe(mark())}: the weight {tuple(weight.shape)} takes {weight.shape[0]} channels, which "
            f"groups={groups} must divide, and makes {outputs}, which the bias must match."
        )
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise OperationError(
            f"{name} at {describe(mark())}: output_padding {extra} must be smaller than the stride {stride} or the "
            f"dilation {dilation}."
        )
    spatial = tuple(x.shape[2:])
    sizes = zip(spatial, kernel, stride, padding, extra, dilation, strict=True)
    out_sizes = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in sizes)
    windows = Windows(kernel, stride, padding, dilation, out_sizes, spatial)
    if any(n < 1 for n in (*out_sizes, *spatial)):
        raise OperationError(
            f"{name} at {describe(mark())}: an input {tuple(x.shape)} with kernel {kernel}, stride {stride} and "
            f"padding {padding} gives no output (size {out_sizes}). Use less padding."
        )
    out = apply(ConvInputGradient, (x, weight), {"windows": windows, "groups": groups})
    if bias is not None:
        out = out + bias.reshape((-1, *[1] * dims))
    return out.reshape(out.shape[1:]) if single else out


def _conv_transpose1d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (2, 3, 4), (3, 2, 3), 2, stride=2, padding=1, output_padding=1)
    yield draw(rng, (2, 3), (2, 1, 2), dilation=2)


def _conv_transpose2d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (2, 2, 3, 2), (2, 3, 2, 3), 3)
    yield draw(rng, (1, 2, 2, 3), (2, 2, 3, 3), stride=2, padding=1, output_padding=1)
    yield draw(rng, (1, 4, 3, 2), (4, 2, 2, 2), 4, groups=2, stride=(1, 3), dilation=(2, 1))
    yield draw(rng, (1, 2, 2), (1, 1, 2, 2), output_padding=(1, 0), dilation=2)


def _conv_transpose3d_samples(rng: np.random.Generator) -> Any:
    yield draw(rng, (1, 2, 2, 1, 2), (2, 1, 2, 2, 2), 1, stride=2, padding=(0, 0, 1))


@operation(ConvInputGradient, samples=_conv_transpose1d_samples)
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting = 0,
    output_padding: Setting = 0,
    groups: int = 1,
    dilation: Setting = 1,
) -> Tensor:
    """Transposed convolution over one spatial dimension: input (N, C, L), weight (C, O / groups, K).

    The other arguments and the errors are those of :func:`conv_transpose2d`.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@operation(ConvInputGradient, samples=_conv_transpose2d_samples)
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting = 0,
    output_padding: Setting = 0,
    groups: int = 1,
    dilation: Setting = 1,
) -> Tensor:
    """The gradient of a convolution to its input, used as a layer: it spreads every input over a window of outputs.

    Args:
        input: shape (N, C, H, W), or (C, H, W) for a single sample.
        weight: shape (C, O / groups, KH, KW): the weight of the convolution that this is the transpose of.
        bias: shape (O,), or None.
        stride: distance between windows in the output.
        padding: how much of the output's border is cut off.
        output_padding: rows and columns added at the end, where several sizes would be possible.
        groups: the channels are cut into so many groups that do not see each other.
        dilation: distance between the taps of the kernel.

    Returns:
        Shape (N, O, OH, OW) with OH = (H − 1)·stride − 2·padding + dilation·(KH − 1) + output_padding + 1.

    Raises:
        OperationError: a wrong number of dimensions or channels, groups that do not divide them, too much output
            padding, or no output left.
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@operation(ConvInputGradient, samples=_conv_transpose3d_samples)
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Setting = 1,
    padding: Setting = 0,
    output_padding: Setting = 0,
    groups: int = 1,
    dilation: Setting = 1,
) -> Tensor:
    """Transposed convolution over three spatial dimensions: input (N, C, D, H, W), weight (C, O / groups, KD, KH, KW).

    The other arguments and the errors are those of :func:`conv_transpose2d`.
    """
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
