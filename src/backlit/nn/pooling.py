"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]

Size = Any  # an int, or a tuple with one int for each spatial dimension


class _MaxPool(Module):
    _pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self._pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest value in each window of (batch, channels, length); arguments as for :class:`MaxPool2d`."""

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest value in each window of (batch, channels, height, width).

    Args:
        kernel_size: the window's size, an int or (height, width).
        stride: steps between windows; the window's size unless given.
        padding: positions added on each side, which never win.
        dilation: steps between the window's points.
        return_indices: give the winners' positions too.
        ceil_mode: also windows that stick out at the end.
    """

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest value in each window of (batch, channels, depth, height, width); see :class:`MaxPool2d`."""

    _pool = staticmethod(F.max_pool3d)


class _AvgPool(Module):
    def forward(self, input: Tensor) -> Tensor:
        return self._pool(input, *self._settings())

    def _settings(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of (batch, channels, length); arguments as for :class:`AvgPool2d`."""

    _pool = staticmethod(F.avg_pool1d)

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = self.kernel_size if stride is None else _single(stride)
        self.padding, self.ceil_mode, self.count_include_pad = _single(padding), ceil_mode, count_include_pad


class AvgPool2d(_AvgPool):
    """The mean of each window of (batch, channels, height, width).

    Args:
        kernel_size: the window's size, an int or (height, width).
        stride: steps between windows; the window's size unless given.
        padding: zeros added on each side.
        ceil_mode: also windows that stick out at the end.
        count_include_pad: whether the padding counts in the mean.
        divisor_override: divide by this instead of by the window's size.
    """

    _pool = staticmethod(F.avg_pool2d)

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def _settings(self) -> tuple[Any, ...]:
        return *super()._settings(), self.divisor_override


class AvgPool3d(AvgPool2d):
    """The mean of each window of (batch, channels, depth, height, width); see :class:`AvgPool2d`."""

    _pool = staticmethod(F.avg_pool3d)


class _AdaptivePool(Module):
    """Pooling over windows chosen so that the output has a given size."""

    _pool: Callable[..., Any]

    def __init__(self, output_size: Size) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self._pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """Means over windows chosen so that the output of (batch, channels, length) has a given length."""

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """Means over windows chosen so that the output has a given size.

    ``output_size`` is (height, width), or one int for both; None keeps the input's.
    """

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptivePool):
    """As :class:`AdaptiveAvgPool2d`, for volumes: ``output_size`` is (depth, height, width)."""

    _pool = staticmethod(F.adaptive_avg_pool3d)


def _single(size: Size) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
