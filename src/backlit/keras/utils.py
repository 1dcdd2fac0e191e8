"""Small helpers by Keras's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (N,) as rows with a single 1, float32 of shape (N, num_classes).

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    numbers = np.asarray(x, dtype=np.int64)
    count = int(numbers.max()) + 1 if num_classes is None else num_classes
    return np.eye(count, dtype=np.float32)[numbers]


def set_random_seed(seed: int) -> None:
    """Seed initial weights, dropout and shuffling."""
    random.manual_seed(seed)
