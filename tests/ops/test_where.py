"""``where`` chooses numbers bit by bit, on small arrays (by branches) and on large ones (by masks)."""

import numpy as np
import pytest

import backlit as bl

SPECIAL = [0.0, -0.0, 1.5, np.inf, -np.inf, np.nan]
SMALL, LARGE = 100, 10_000


def bits(a):
    return np.asarray(a).view(f"i{np.asarray(a).itemsize}")


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("number", SPECIAL)
def test_exact_with_a_number_on_either_side(number, dtype, size):
    rng = np.random.default_rng(0)
    condition, x = rng.random(size) < 0.5, rng.choice(SPECIAL, size).astype(dtype)
    for other in (number, dtype(number), np.full((), number, dtype)):
        last = bl.where(bl.tensor(condition), bl.tensor(x), other)
        first = bl.where(bl.tensor(condition), other, bl.tensor(x))
        assert last.dtype == first.dtype == dtype
        np.testing.assert_array_equal(bits(last.numpy()), bits(np.where(condition, x, dtype(number))))
        np.testing.assert_array_equal(bits(first.numpy()), bits(np.where(condition, dtype(number), x)))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_exact_between_arrays_that_broadcast(size):
    rng = np.random.default_rng(1)
    condition, x, y = rng.random((size, 1)) < 0.5, rng.choice(SPECIAL, (size, 3)), rng.choice(SPECIAL, (1, 3))
    np.testing.assert_array_equal(bits(bl.where(bl.tensor(condition), x, y)), bits(np.where(condition, x, y)))
