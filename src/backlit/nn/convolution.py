"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import OperationError, UnsupportedError
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import empty_parameter, reset_bias
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Size = Any  # an int, or a tuple with one int for each spatial dimension


class _Conv(Module):
    """What the convolutions share: settings, parameters, padding other than zeros."""

    _spatial = 0
    _transposed = False
    output_padding: tuple[int, ...] = ()
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._check(in_channels, out_channels, groups, padding, padding_mode)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = map(self._sizes, (kernel_size, stride, dilation))
        self.padding = padding if isinstance(padding, str) else self._sizes(padding)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = empty_parameter(*shape, device=device, dtype=dtype)
        self.register_parameter("bias", empty_parameter(out_channels, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def _check(self, in_channels: int, out_channels: int, groups: int, padding: Any, padding_mode: str) -> None:
        where = f"{type(self).__name__} at {describe(mark())}"
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise OperationError(
                f"{where}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}."
            )
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise OperationError(f"{where}: padding must be a size, 'valid' or 'same', got {padding!r}.")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise OperationError(
                f"{where}: padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', got {padding_mode!r}."
            )

    def _sizes(self, given: Size) -> tuple[int, ...]:
        if isinstance(given, int):
            return (given,) * self._spatial
        if len(given) != self._spatial:
            raise OperationError(f"{type(self).__name__}: expected {self._spatial} sizes, got {tuple(given)}.")
        return tuple(given)

    def reset_parameters(self) -> None:
        """Draw the parameters anew: uniform in ±1/√fan_in."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            reset_bias(self.bias, math.prod(self.weight.shape[1:]))

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input and the zeros that are still to be added; other paddings are added here."""
        if self.padding_mode == "zeros":
            return input, self.padding
        widths: list[int] = []
        for i in reversed(range(self._spatial)):
            widths.extend(self._side_widths(i))
        return F.pad(input, tuple(widths), mode=self.padding_mode), 0

    def _side_widths(self, i: int) -> tuple[int, int]:
        if self.padding == "valid":
            return 0, 0
        if self.padding == "same":
            total = self.dilation[i] * (self.kernel_size[i] - 1)
            return total // 2, total - total // 2
        return self.padding[i], self.padding[i]  # type: ignore[return-value]

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zero, one = (0,) * self._spatial, (1,) * self._spatial
        text += f", padding={self.padding}" if self.padding != zero else ""
        text += f", dilation={self.dilation}" if self.dilation != one else ""
        text += f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _DirectConv(_Conv):
    _convolve: Callable[..., Tensor]

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self._padded(input)
        return self._convolve(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_DirectConv):
    """Convolution (as in all such libraries, cross-correlation) over a sequence.

    Shape: (batch, in_channels, length) to (batch, out_channels, length'). Arguments as for :class:`Conv2d`.
    """

    _spatial = 1
    _convolve = staticmethod(F.conv1d)


class Conv2d(_DirectConv):
    """Convolution (as in all such libraries, cross-correlation) over an image.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an int or (height, width).
        stride: steps between windows.
        padding: added on each side; or ``"same"``, ``"valid"``.
        dilation: steps between the kernel's points.
        groups: channels in so many groups that do not see each other.
        bias: whether to add a learned number to each output channel.
        padding_mode: what is added: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: only ``"cpu"``.
        dtype: of the parameters.

    Attributes:
        weight: shape (out_channels, in_channels // groups, height, width), initially uniform in ±1/√fan_in.
        bias: shape (out_channels,), likewise; None without one.

    Shape: (batch, in_channels, height, width) to (batch, out_channels, height', width').
    """

    _spatial = 2
    _convolve = staticmethod(F.conv2d)


class Conv3d(_DirectConv):
    """Convolution over a volume (batch, in_channels, depth, height, width); see :class:`Conv2d`."""

    _spatial = 3
    _convolve = staticmethod(F.conv3d)


class _TransposedConv(_Conv):
    _transposed = True
    _convolve: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros" or isinstance(padding, str):
            raise UnsupportedError(
                f"{type(self).__name__}: padding is a size, filled with zeros; other paddings have no meaning here."
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = self._sizes(output_padding)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, tuple(output_size))
        return self._convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra(self, input: Tensor, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives the output its wanted size (spatial sizes, or the whole shape)."""
        extra, padding = [], self._sizes(self.padding)
        for i, size in enumerate(wanted[-self._spatial :]):
            least = (input.shape[i - self._spatial] - 1) * self.stride[i] - 2 * padding[i]
            least += self.dilation[i] * (self.kernel_size[i] - 1) + 1
            if not 0 <= size - least < self.stride[i]:
                raise OperationError(
                    f"{type(self).__name__} at {describe(mark())}: output size {size} cannot be had from an input of "
                    f"shape {input.shape}; {least} to {least + self.stride[i] - 1} can."
                )
            extra.append(size - least)
        return tuple(extra)


class ConvTranspose1d(_TransposedConv):
    """The transpose of a convolution over a sequence; see :class:`ConvTranspose2d`."""

    _spatial = 1
    _convolve = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_TransposedConv):
    """The transpose of a convolution: what its backward pass does to gradients, as a layer that enlarges images.

    ``output_padding`` adds rows and columns at the end; the other arguments are those of the convolution that this
    transposes. ``weight`` has shape (in_channels, out_channels // groups, height, width). Instead of the output padding
    a call may give the output's size: ``layer(x, output_size=(28, 28))``.

    Shape: (batch, in_channels, height, width) to (batch, out_channels, height', width').
    """

    _spatial = 2
    _convolve = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_TransposedConv):
    """The transpose of a convolution over a volume; see :class:`ConvTranspose2d`."""

    _spatial = 3
    _convolve = staticmethod(F.conv_transpose3d)
