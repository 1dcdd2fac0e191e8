"""What a convolution and its gradients are made of: correlations over regular grids of taps.

The forward pass is one correlation. The gradient to the input is one for each phase of the stride: input pixels that
lie alike between the strides see the same taps, and these step evenly through the upstream gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .images import Images


@dataclass(frozen=True)
class Convolution:
    """Shapes of ``y[n, o] = Σ x[n, c, · stride + tap · dilation − padding] w[o, c, tap]``, all pairs (rows, columns).

    x has at least ``padding`` pixels of margin, and y, where it holds the upstream gradient, ``gradient_margin`` of
    them.
    """

    x: Images
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.x.channels % self.groups or self.out_channels % self.groups:
            channels = f"{self.x.channels} and {self.out_channels} channels"
            raise ValueError(f"Convolution: {channels} do not split into {self.groups} groups")
        if self.x.margin < max(self.padding):
            raise ValueError(f"Convolution: padding {self.padding} needs a margin in x; it has {self.x.margin} pixels")
        if min(self.output) < 1:
            room = f"{self.x.height}×{self.x.width} pixels"
            raise ValueError(f"Convolution: a {self.kernel} kernel finds no room in {room}")

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of y."""
        sizes = zip((self.x.height, self.x.width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        height, width = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
        return height, width

    @property
    def group_channels(self) -> tuple[int, int]:
        """Input and output channels of one group."""
        return self.x.channels // self.groups, self.out_channels // self.groups

    @property
    def flops(self) -> int:
        """Multiplications and additions of the forward pass, and of either gradient."""
        height, width = self.output
        return 2 * self.x.batch * height * width * math.prod(self.kernel) * self.group_channels[0] * self.out_channels

    @property
    def gradient_margin(self) -> int:
        """Pixels of zeros that the gradient to x reads beyond the upstream gradient."""
        reach = 0
        for phase in phases(self):
            for size, axis, taps in zip(self.output, phase.pixels, (phase.rows, phase.columns), strict=True):
                if taps.count:
                    low, high = taps.first, axis.count - 1 + taps.first + (taps.count - 1) * taps.step
                    reach = max(reach, -low, high - size + 1)
        return reach

    def y(self, margin: int | None = None) -> Images:
        """The layout of the output, or of its gradient; the margin is what the gradient needs unless given."""
        return Images.of(
            self.x.batch, *self.output, self.out_channels, self.gradient_margin if margin is None else margin
        )


@dataclass(frozen=True)
class Taps:
    """Along one axis: tap number ``start + i * stride`` reads ``first + i * step`` pixels away, for ``count`` taps."""

    count: int
    start: int
    stride: int
    first: int
    step: int


@dataclass(frozen=True)
class Pixels:
    """Along one axis: pixels ``start + i * stride``, ``count`` of them."""

    count: int
    start: int
    stride: int


@dataclass(frozen=True)
class Phase:
    """Pixels of the gradient to x that lie alike between the strides, and the taps that reach them."""

    pixels: tuple[Pixels, Pixels]
    rows: Taps
    columns: Taps


def phases(spec: Convolution) -> list[Phase]:
    """All phases of the gradient to x, together every pixel once."""
    axes = [
        [_phase(n, k, s, p, d, start) for start in range(min(s, n))]
        for n, k, s, p, d in zip(
            (spec.x.height, spec.x.width), spec.kernel, spec.stride, spec.padding, spec.dilation, strict=True
        )
    ]
    return [Phase((rows, columns), down, across) for rows, down in axes[0] for columns, across in axes[1]]


def _phase(size: int, kernel: int, stride: int, padding: int, dilation: int, start: int) -> tuple[Pixels, Taps]:
    """Pixels ``start, start + stride …`` and the taps t with (start + padding − t dilation) divisible by the stride.

    Taps are listed from the last to the first, so that they step forwards through the upstream gradient.
    """
    pixels = Pixels(len(range(start, size, stride)), start, stride)
    hits = [t for t in range(kernel) if (start + padding - t * dilation) % stride == 0][::-1]
    if not hits:
        return pixels, Taps(0, 0, 0, 0, 0)
    apart = hits[0] - hits[1] if len(hits) > 1 else 1
    first = (start + padding - hits[0] * dilation) // stride
    return pixels, Taps(len(hits), hits[0], -apart, first, apart * dilation // stride)


__all__ = ["Convolution", "Phase", "Pixels", "Taps", "phases"]
