"""Random changes to training images that leave their class what it is.

Each is called with images of shape (N, H, W) or (N, C, H, W) and a NumPy generator, and returns a new array of the same
shape and dtype. Every image draws its own change, the same for all its channels. Integer images are rounded to the
nearest value and kept in the range of their dtype.

Example:
    >>> from backlit.datasets import digits
    >>> change = Compose([Rotate(10), Shift(1)])
    >>> change(digits().x_train[:5], np.random.default_rng(0)).shape
    (5, 8, 8)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Images = NDArray[Any]
_BATCH = 256  # images rotated at a time, so that the index arrays of a whole data set need not fit in memory


class Augmentation(Protocol):
    """Anything that is called as the classes of this module are."""

    def __call__(self, images: Images, rng: np.random.Generator) -> Images: ...


@dataclass(frozen=True)
class Shift:
    """Moves each image by a random whole number of pixels in each direction; what is uncovered becomes 0.

    Args:
        max_pixels: the largest move; dy and dx are uniform on -max_pixels..max_pixels.

    Raises:
        DataError: `max_pixels` is no whole number of at least 0; on call, the images have another shape or dtype.

    Example:
        >>> Shift(1)(np.ones((1, 2, 2)), np.random.default_rng(0))
        array([[[0., 0.],
                [1., 1.]]])
    """

    max_pixels: int

    def __post_init__(self) -> None:
        if not isinstance(self.max_pixels, int | np.integer) or self.max_pixels < 0:
            raise DataError(f"max_pixels is {self.max_pixels!r}; give a whole number of at least 0.")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        stack = _with_channels(images, rng)
        dy, dx = rng.integers(-self.max_pixels, self.max_pixels, (2, len(stack)), endpoint=True)
        return _shifted(stack, dy, dx).reshape(images.shape)


@dataclass(frozen=True)
class Rotate:
    """Turns each image about its centre by a random angle, with bilinear interpolation; outside the image is 0.

    Args:
        max_degrees: the angle is uniform on [-max_degrees, max_degrees]; positive is counter-clockwise.

    Raises:
        DataError: `max_degrees` is negative or not finite; on call, the images have another shape or dtype.

    Example:
        >>> Rotate(0)(np.eye(3, dtype=np.uint8)[None], np.random.default_rng(0))
        array([[[1, 0, 0],
                [0, 1, 0],
                [0, 0, 1]]], dtype=uint8)
    """

    max_degrees: float

    def __post_init__(self) -> None:
        _check_amount("max_degrees", self.max_degrees)

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        stack = _with_channels(images, rng)
        _refuse_wide(images)
        angles = np.radians(rng.uniform(-self.max_degrees, self.max_degrees, len(stack)))
        result = np.empty_like(stack)
        for start in range(0, len(stack), _BATCH):
            part = slice(start, start + _BATCH)
            result[part] = _rotated(stack[part], angles[part])
        return result.reshape(images.shape)


@dataclass(frozen=True)
class Flip:
    """Mirrors each image with probability `p`.

    Args:
        horizontal: True swaps left and right, False top and bottom.
        p: the probability.

    Raises:
        DataError: `p` lies outside [0, 1]; on call, the images have another shape or dtype.

    Example:
        >>> Flip(p=1)(np.array([[[1, 2, 3]]]), np.random.default_rng(0))
        array([[[3, 2, 1]]])
    """

    horizontal: bool = True
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise DataError(f"p is {self.p!r}; give a probability, 0 <= p <= 1.")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        _with_channels(images, rng)
        chosen = rng.random(len(images)) < self.p
        result = images.copy()
        result[chosen] = np.flip(images[chosen], axis=-1 if self.horizontal else -2)
        return result


@dataclass(frozen=True)
class Noise:
    """Adds normal noise to every pixel; floating images are not clipped.

    Args:
        std: the standard deviation, in the units of the pixels.

    Raises:
        DataError: `std` is negative or not finite; on call, the images have another shape or dtype.

    Example:
        >>> Noise(0.1)(np.zeros((1, 1, 2), np.float32), np.random.default_rng(0)).round(2)
        array([[[ 0.11, -0.14]]], dtype=float32)
    """

    std: float

    def __post_init__(self) -> None:
        _check_amount("std", self.std)

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        _with_channels(images, rng)
        _refuse_wide(images)
        working = _working_dtype(images.dtype)
        noise = rng.standard_normal(images.shape, dtype=working)
        return _to_pixels(images + working.type(self.std) * noise, images.dtype)


@dataclass(frozen=True, repr=False)
class Compose:
    """Applies augmentations one after the other, all from one generator.

    Args:
        steps: the augmentations, in order.

    Example:
        >>> Compose([Shift(2), Flip(horizontal=False)])
        Compose([Shift(max_pixels=2), Flip(horizontal=False, p=0.5)])
    """

    steps: Sequence[Augmentation]

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        result = images.copy()
        for step in self.steps:
            result = step(result, rng)
        return result

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.steps))}])"


def _with_channels(images: Images, rng: np.random.Generator) -> Images:
    """The images as (N, C, H, W), after checking what was passed."""
    if not isinstance(rng, np.random.Generator):
        raise DataError(f"rng is {rng!r}; pass a NumPy generator, np.random.default_rng(seed).")
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "uif":
        kind = getattr(images, "dtype", type(images).__name__)
        raise DataError(f"images are {kind}; give a NumPy array of integers or floating-point numbers.")
    if images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise DataError(f"images have shape {images.shape}; give (N, H, W) or (N, C, H, W) with at least one pixel.")
    return images[:, None] if images.ndim == 3 else images


def _refuse_wide(images: Images) -> None:
    """Refuse dtypes of which float64, the widest that is computed in, does not hold every value."""
    if images.dtype.itemsize > (8 if images.dtype.kind == "f" else 4):
        raise DataError(
            f"images are {images.dtype}, which float64 cannot hold exactly; convert them to uint8 or float32."
        )


def _check_amount(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{name} is {value!r}; give a finite number of at least 0.")


def _working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every value of `dtype`, and float64 otherwise."""
    return np.result_type(dtype, np.float32)


def _to_pixels(values: Images, dtype: np.dtype[Any]) -> Images:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _shifted(stack: Images, dy: NDArray[Any], dx: NDArray[Any]) -> Images:
    """Images (N, C, H, W) moved down by dy and to the right by dx, each of shape (N,)."""
    count, channels, height, width = stack.shape
    rows = np.arange(height) - dy[:, None]
    columns = np.arange(width) - dx[:, None]
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    image, channel = np.arange(count)[:, None, None, None], np.arange(channels)[:, None, None]
    moved = stack[image, channel, (rows % height)[:, None, :, None], (columns % width)[:, None, None, :]]
    shifted: Images = np.where(inside, moved, 0).astype(stack.dtype, copy=False)
    return shifted


def _rotated(stack: Images, angles: NDArray[Any]) -> Images:
    """Images (N, C, H, W) turned counter-clockwise by angles (N,) in radians.

    Every pixel of the result looks up where it came from. A border of zeros, one pixel wide, stands for everything
    outside: coordinates beyond it are moved onto it.
    """
    count, channels, height, width = stack.shape
    working = _working_dtype(stack.dtype)
    y, x = _sources(angles.astype(working), height, width)
    top, left = np.minimum(np.floor(y), height), np.minimum(np.floor(x), width)
    down, right = (y - top)[:, None], (x - left)[:, None]
    pitch = width + 2
    corner = (top * pitch + left).astype(np.intp)[:, None]
    flat = np.zeros((count, channels, height + 2, pitch), working)
    flat[:, :, 1:-1, 1:-1] = stack
    flat = flat.reshape(count, channels, -1)

    def pixels(offset: int) -> Images:
        return np.take_along_axis(flat, corner + offset, axis=2)

    upper = pixels(0) * (1 - right) + pixels(1) * right
    lower = pixels(pitch) * (1 - right) + pixels(pitch + 1) * right
    return _to_pixels(upper * (1 - down) + lower * down, stack.dtype).reshape(stack.shape)


def _sources(angles: NDArray[Any], height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where each pixel of the turned images comes from, (N, H·W), in coordinates of the image with its border."""
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    dy, dx = np.indices((height, width)).reshape(2, -1)
    dy, dx = (dy - middle_y).astype(angles.dtype), (dx - middle_x).astype(angles.dtype)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    y = np.clip(middle_y + 1 + dx * sine + dy * cosine, 0, height + 1)
    x = np.clip(middle_x + 1 + dx * cosine - dy * sine, 0, width + 1)
    return y, x
