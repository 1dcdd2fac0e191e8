"""Dropout layers."""

from __future__ import annotations

from ..errors import OperationError
from ..source import describe, mark
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise OperationError(
                f"{type(self).__name__} at {describe(mark())}: p is the chance that an entry is dropped, "
                f"between 0 and 1; got {p}."
            )
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """While training, sets entries to zero with chance ``p`` and scales the others by 1/(1 − p); nothing in ``eval()``.

    (Srivastava et al. 2014.)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """As :class:`Dropout`, for whole channels of an input (batch, channels, length)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """As :class:`Dropout`, for whole channels of an input (batch, channels, height, width)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """As :class:`Dropout`, for whole channels of an input (batch, channels, depth, height, width)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)
