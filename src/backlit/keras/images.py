"""Between Keras's channels-last images and the channels-first ones of the convolutions."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor


class ChannelsFirst(nn.Module):
    """(N, H, W, C) → (N, C, H, W), then zeros around height and width where asked for."""

    def __init__(self, padding: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Reorder, and pad (last dimension first)."""
        x = x.permute(0, 3, 1, 2)
        return x if self.padding is None else nn.functional.pad(x, self.padding)


class ChannelsLast(nn.Module):
    """(N, C, H, W) → (N, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Reorder."""
        return x.permute(0, 2, 3, 1)
