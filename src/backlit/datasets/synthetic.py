"""Point sets in the plane, for pictures of decision boundaries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .errors import DataError
from .split import split_by_class


def moons(n: int = 100, noise: float = 0.1, seed: int = 0, *, test_fraction: float = 0.2) -> Data:
    """Two half circles that reach into one another, n/2 points each.

    With t equally spaced on [0, π]:
        upper: (cos t, sin t)        lower: (1 - cos t, ½ - sin t)
    plus normal noise in both coordinates. The shape is that of scikit-learn's `make_moons`.

    Args:
        n: the number of points of both moons together, at least 2; an odd point goes to the lower moon.
        noise: the standard deviation of the noise.
        seed: the same seed gives the same points and the same split.
        test_fraction: the share of each class kept for testing, 0 <= share < 1.

    Returns:
        Data with float32 features (N, 2), shuffled, and int64 classes 0 (upper) and 1 (lower).

    Raises:
        DataError: an argument is outside its range.

    Example:
        >>> data = moons(200, noise=0.05)
        >>> data.x_train.shape, data.x_test.shape, data.classes
        ((160, 2), (40, 2), ('upper', 'lower'))
    """
    _check("n", n, 2)
    _check_noise(noise)
    rng = np.random.default_rng(seed)
    above, below = np.linspace(0, math.pi, n // 2), np.linspace(0, math.pi, n - n // 2)
    upper = np.stack([np.cos(above), np.sin(above)], axis=1)
    lower = np.stack([1 - np.cos(below), 0.5 - np.sin(below)], axis=1)
    points = np.concatenate([upper, lower])
    points += rng.normal(0, noise, points.shape)
    labels = np.repeat(np.arange(2), [len(upper), len(lower)])
    source = f"Two moons made by backlit.datasets.moons(n={n}, noise={noise}, seed={seed})."
    return _plane(points, labels, ("upper", "lower"), "moons", source, rng, test_fraction)


def spirals(
    points_per_class: int = 100, classes: int = 3, noise: float = 0.2, seed: int = 0, *, test_fraction: float = 0.2
) -> Data:
    """Spiral arms around the origin, one for each class.

    Arm j has radius r equally spaced on [0, 1], angle t equally spaced on [4j, 4(j+1)] plus normal noise, and the
    points (r sin t, r cos t). Source: A. Karpathy, Stanford CS231n notes, "Putting it together: Minimal Neural
    Network Case Study". Arms more than about five lie over one another.

    Args:
        points_per_class: the number of points of each arm, at least 1.
        classes: the number of arms, at least 2.
        noise: the standard deviation of the noise in the angle, in radians.
        seed: the same seed gives the same points and the same split.
        test_fraction: the share of each class kept for testing, 0 <= share < 1.

    Returns:
        Data with float32 features (N, 2), shuffled, and int64 classes 0..classes-1.

    Raises:
        DataError: an argument is outside its range.

    Example:
        >>> data = spirals(test_fraction=0)
        >>> data.x_train.shape, data.classes
        ((300, 2), ('arm 0', 'arm 1', 'arm 2'))
    """
    _check("points_per_class", points_per_class, 1)
    _check("classes", classes, 2)
    _check_noise(noise)
    rng = np.random.default_rng(seed)
    radius = np.tile(np.linspace(0, 1, points_per_class), classes)
    angle = np.concatenate([np.linspace(4 * arm, 4 * (arm + 1), points_per_class) for arm in range(classes)])
    angle += rng.normal(0, noise, angle.shape)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    labels = np.repeat(np.arange(classes), points_per_class)
    names = tuple(f"arm {arm}" for arm in range(classes))
    source = f"Spirals made by backlit.datasets.spirals({points_per_class}, {classes}, noise={noise}, seed={seed})."
    return _plane(points, labels, names, "spirals", source, rng, test_fraction)


def _plane(
    points: NDArray[Any],
    labels: NDArray[Any],
    classes: tuple[str, ...],
    name: str,
    source: str,
    rng: np.random.Generator,
    test_fraction: float,
) -> Data:
    x, y = points.astype(np.float32), labels.astype(np.int64)
    train, test = split_by_class(y, test_fraction, rng)
    return Data(
        x[train], y[train], x[test], y[test], classes=classes, feature_names=("x", "y"), image_shape=None,
        task="classification", name=name, source=source,
    )  # fmt: skip


def _check(name: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise DataError(f"{name} is {value!r}; give a whole number of at least {least}.")


def _check_noise(noise: float) -> None:
    if not (math.isfinite(noise) and noise >= 0):
        raise DataError(f"noise is {noise!r}; give a standard deviation of 0 or more.")
