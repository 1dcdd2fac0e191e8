"""Powers: with a number for the exponent by products and roots, otherwise by a native function, as eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_cases import native_calls_only
from test_special_values import specials

import backlit as bl

WRITTEN = (1, 2, 3, 4, -1, -2, -3, 0.5, 1.5, 2.5, -0.5, -1.5)
CALLED = (0, 5, 7.0, -4, 0.25, -2.5, 2.7, float("inf"), float("-inf"), float("nan"))


def libm_power(x: np.ndarray, exponent: Any) -> np.ndarray:
    """The C library's, and for one half the square root."""
    with np.errstate(all="ignore"):
        return np.sqrt(x) if exponent == 0.5 else np.power(x, np.full_like(x, exponent))


def compiled_power(exponent: Any, x: np.ndarray) -> np.ndarray:
    """``x ** exponent`` by a compiled function that has been called before."""

    def power(t: Any) -> Any:
        return t**exponent

    run, t = bl.compile(power), bl.tensor(x)
    assert native_calls_only(power, [t])
    run(t)
    return run(t).numpy()


def every_size(dtype: Any, count: int) -> np.ndarray:
    """Numbers evenly over bit patterns, of which half are moderate, without NaN and infinity."""
    rng = np.random.default_rng(0)
    about = np.finfo(dtype)
    bits = np.dtype(f"i{about.bits // 8}")
    top = about.max.view(bits)
    wild = rng.integers(-top, top, count // 2).astype(bits)
    wild = np.where(wild < 0, np.iinfo(bits).min - wild, wild).astype(bits).view(dtype)
    return np.concatenate([wild, rng.uniform(0.25, 4, count // 2).astype(dtype)])


def units_off(found: np.ndarray, x: np.ndarray, exponent: float) -> float:
    """The largest distance from the exact powers in units in the last place."""
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), np.longdouble(exponent))
        rounded = exact.astype(x.dtype)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
        np.testing.assert_array_equal(np.isinf(found), np.isinf(rounded))
        finite = np.isfinite(rounded)
        gap = np.spacing(np.abs(rounded[finite])).astype(np.longdouble)
    return float(np.max(np.abs(found[finite] - exact[finite]) / gap))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [*WRITTEN, *CALLED])
def test_special_values_are_the_c_librarys(exponent: Any, dtype: Any) -> None:
    """Compiled and eager."""
    x, about = specials(dtype).astype(dtype), np.finfo(dtype)
    wanted = libm_power(x, exponent)
    for found in (compiled_power(exponent, x), (bl.tensor(x) ** exponent).numpy()):
        np.testing.assert_allclose(found, wanted, rtol=3 * about.eps, atol=2 * about.smallest_subnormal)
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(wanted)[numbers])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", WRITTEN)
def test_error_of_written_powers(exponent: Any, dtype: Any) -> None:
    x = every_size(dtype, 1 << 17)
    assert units_off(compiled_power(exponent, x), x, exponent) <= 2.5
    assert units_off((bl.tensor(x) ** exponent).numpy(), x, exponent) <= 2.5


@pytest.mark.parametrize("exponent", [5, -4, 0.25, 2.7, -2.5, 0.001, 40.0])
def test_error_of_called_powers(exponent: Any) -> None:
    x = every_size(np.float32, 1 << 17)
    assert units_off(compiled_power(exponent, x), x, np.float32(exponent)) <= 1.0


@pytest.mark.parametrize("exponent", [*WRITTEN, *CALLED])
def test_gradients_at_special_values(exponent: Any) -> None:
    x = bl.tensor(specials(np.float32, huge=False).astype(np.float32), requires_grad=True)
    g = bl.tensor(np.resize(np.array([1.0, 0.0, -2.0], np.float32), x.shape))

    def slope(x: Any) -> Any:
        return bl.autograd.grad(x**exponent, [x], [g])[0]

    compiled = bl.compile(slope)
    wanted = slope(x).numpy()
    compiled(x)
    np.testing.assert_allclose(compiled(x).numpy(), wanted, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("exponent", [1, 3, 7, 70])
def test_whole_numbers_wrap_as_numpys(exponent: int, dtype: Any) -> None:
    x = np.array([-3, -2, -1, 0, 1, 2, 3, 10, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    np.testing.assert_array_equal(compiled_power(exponent, x), np.power(x, dtype(exponent)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponents_in_tensors_are_native(dtype: Any) -> None:
    """All pairs of special numbers, broadcast; both gradients."""
    x = bl.tensor(specials(dtype, huge=False).astype(dtype)[:, None], requires_grad=True)
    y = bl.tensor(np.array([0.0, -0.0, 1, 2, 3, -1, -3, 0.5, 2.5, np.inf, -np.inf, np.nan], dtype), requires_grad=True)

    def power(x: Any, y: Any) -> Any:
        made = x**y
        return [made.detach(), *bl.autograd.grad(made, [x, y], [bl.ones_like(made)])]

    assert native_calls_only(power, [x, y])
    compiled = bl.compile(power)
    with np.errstate(all="ignore"):
        wanted = power(x, y)
        compiled(x, y)
        for a, b in zip(wanted, compiled(x, y), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-6)


def test_a_transposed_base_and_an_empty_one() -> None:
    x = np.random.default_rng(0).uniform(0.5, 2, (7, 5)).astype(np.float32)
    np.testing.assert_allclose(compiled_power(3, x.T), x.T**3, rtol=3e-7)
    assert compiled_power(-1.5, x[:0]).shape == (0, 5)
