"""erf of many numbers in float32, which NumPy computes without SciPy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import special

import backlit as bl
from backlit.ops.error_function import FEW, erf


def units(found, exact):
    """Differences in units of the last place."""
    return np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))


@pytest.mark.parametrize("sign", [1, -1])
def test_within_the_stated_error_over_the_whole_range(sign):
    x = sign * np.concatenate([np.linspace(0, 6, 3_000_001), np.logspace(-37, 38, 500_000)]).astype(np.float32)
    exact = special.erf(x.astype(np.float64))
    error = units(erf(x), exact)
    assert error.max() <= 2.5
    assert error[:3_000_001].mean() < 0.35
    assert np.abs(erf(x)).max() == 1.0


def test_infinities_nan_zeros_and_denormals_flow():
    few = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 3e38], np.float32)
    x = np.resize(few, FEW + 7)
    found = erf(x)
    np.testing.assert_array_equal(found[: len(few)], np.array([1, -1, np.nan, 0.0, -0.0, 1e-45, 1], np.float32))
    assert np.signbit(found[4])
    np.testing.assert_array_equal(found, np.resize(found[: len(few)], len(x)))


def test_layouts_and_other_dtypes():
    x = np.random.default_rng(0).normal(size=(80, 90)).astype(np.float32)
    for view in (x.T, x[::-1, ::2], x[:, None]):
        np.testing.assert_allclose(erf(view), special.erf(view), rtol=3e-7)
    half = x.astype(np.float16)
    assert erf(half).dtype == np.float16
    np.testing.assert_allclose(erf(half), special.erf(half.astype(np.float64)), rtol=1e-3)
    np.testing.assert_array_equal(erf(x.astype(np.float64)), special.erf(x.astype(np.float64)))


def test_a_network_of_usual_size_needs_no_scipy():
    program = (
        "import sys, backlit as bl\n"
        "x = bl.randn(64, 50, requires_grad=True)\n"
        "words = bl.nn.Embedding(20, 50)\n"
        "loss = (bl.nn.functional.gelu(x) * words(bl.arange(64) % 20)).sum()\n"
        "loss.backward()\n"
        "assert not [name for name in sys.modules if name.startswith('scipy')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_gelu_in_float32_agrees_with_float64():
    x = bl.linspace(-6.0, 6.0, 5000, requires_grad=True)
    y = bl.linspace(-6.0, 6.0, 5000, dtype=bl.float64)
    exact = x.numpy(force=True).astype(np.float64)
    bl.nn.functional.gelu(x).sum().backward()
    slope = special.ndtr(exact) + exact * np.exp(-(exact**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(x.grad.numpy(), slope, atol=4e-7)
    assert np.allclose(bl.nn.functional.gelu(x).numpy(force=True), bl.nn.functional.gelu(y).numpy(), atol=1e-6)
