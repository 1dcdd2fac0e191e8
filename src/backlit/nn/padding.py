"""Borders around signals, pictures and volumes as layers."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import OperationError
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """A border on both sides of each spatial dimension.

    Args:
        padding: one width for all sides, or a pair (before, after) for each dimension, the last dimension first.

    Shape: (channels, …) or (batch, channels, …), with larger spatial dimensions.
    """

    _count: ClassVar[int]
    _mode: ClassVar[str] = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._count) if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 2 * self._count:
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: padding is one number or {2 * self._count}, "
                f"got {self.padding}."
            )

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class CircularPad1d(_Pad):
    """A border of the values from the other end around signals: 2 widths, or one for all sides."""

    _count = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """A border of the values from the other end around pictures: 4 widths, or one for all sides."""

    _count = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """A border of the values from the other end around volumes: 6 widths, or one for all sides."""

    _count = 3
    _mode = "circular"


class ConstantPad1d(_ConstantPad):
    """A border of one value around signals: 2 widths, or one for all sides."""

    _count = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value around pictures: 4 widths, or one for all sides."""

    _count = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value around volumes: 6 widths, or one for all sides."""

    _count = 3


class ReflectionPad1d(_Pad):
    """A border mirrored at the edge, which is not repeated, around signals: 2 widths, or one for all sides."""

    _count = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """A border mirrored at the edge, which is not repeated, around pictures: 4 widths, or one for all sides."""

    _count = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """A border mirrored at the edge, which is not repeated, around volumes: 6 widths, or one for all sides."""

    _count = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """A border of the edge's values around signals: 2 widths, or one for all sides."""

    _count = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """A border of the edge's values around pictures: 4 widths, or one for all sides."""

    _count = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """A border of the edge's values around volumes: 6 widths, or one for all sides."""

    _count = 3
    _mode = "replicate"


class ZeroPad1d(_Pad):
    """A border of zeros around signals: 2 widths, or one for all sides."""

    _count = 1


class ZeroPad2d(_Pad):
    """A border of zeros around pictures: 4 widths, or one for all sides."""

    _count = 2


class ZeroPad3d(_Pad):
    """A border of zeros around volumes: 6 widths, or one for all sides."""

    _count = 3
