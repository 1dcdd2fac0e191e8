"""Batches of images in memory, channels innermost, with a margin of zeros around each for windows to reach into."""

from __future__ import annotations

from dataclasses import dataclass

_LINE = 16  # float32 elements of a cache line; rows an odd number of lines long do not evict each other


@dataclass(frozen=True)
class Images:
    """Where the pixels of ``batch × height × width × channels`` values are, in elements.

    ``pixel``, ``row`` and ``image`` are the distances between neighbours, ``margin`` how many pixels of zeros lie
    around each image, and ``origin`` how far the first pixel is from the buffer's beginning. ``size`` is the whole
    buffer.
    """

    batch: int
    height: int
    width: int
    channels: int
    margin: int
    pixel: int
    row: int
    image: int

    @classmethod
    def of(cls, batch: int, height: int, width: int, channels: int, margin: int = 0) -> Images:
        """The layout that kernels like best: no gaps but the margin, rows an odd number of cache lines apart."""
        row = (width + 2 * margin) * channels
        if row % _LINE == 0 and row // _LINE % 2 == 0:
            row += _LINE
        return cls(batch, height, width, channels, margin, channels, row, row * (height + 2 * margin))

    @classmethod
    def dense(cls, batch: int, height: int, width: int, channels: int) -> Images:
        """No margin and no gaps."""
        return cls(batch, height, width, channels, 0, channels, width * channels, height * width * channels)

    @property
    def origin(self) -> int:
        """The first pixel of the first image."""
        return self.margin * (self.row + self.pixel)

    @property
    def size(self) -> int:
        """Elements of the buffer."""
        return self.batch * self.image

    def at(self, y: int, x: int) -> int:
        """The distance of a pixel from an image's first one; it may lie in the margin."""
        return y * self.row + x * self.pixel


__all__ = ["Images"]
