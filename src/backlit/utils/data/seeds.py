"""Where the order of a pass comes from: one number, drawn from a generator, that stands for the whole pass."""

from __future__ import annotations

import numpy as np

from ...random import Generator, default_generator


def draw_seed(generator: Generator | None = None) -> int:
    """A number drawn from ``generator``, or from the default generator, that determines one pass over the data."""
    return int((generator or default_generator).numpy.integers(2**63 - 1))


def pass_rng(seed: int) -> np.random.Generator:
    """The generator that a pass draws its order from."""
    return np.random.default_rng(seed)


def batch_rng(seed: int, batch: int) -> np.random.Generator:
    """The generator for random changes to one batch of a pass: the same whoever makes the batch, and whenever."""
    return np.random.default_rng((seed, batch))
