"""Layer and RMS normalisation of rows against float64, at widths that fit no vector."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.row_normalization import (
    RowNormalization,
    emit_normalization,
    emit_normalization_backward,
)


def expected(spec, x, w, b, g):
    """y, dx, dw and db in float64."""
    x, w, b, g = (a.astype("float64") for a in (x, w, b, g))
    apart = x - x.mean(1, keepdims=True) if spec.centred else x
    scale = 1 / np.sqrt((apart**2).mean(1, keepdims=True) + spec.eps)
    normal = apart * scale
    h = g * w
    dx = h - normal * (h * normal).mean(1, keepdims=True)
    dx -= h.mean(1, keepdims=True) if spec.centred else 0
    return normal * w + b, dx * scale, (g * normal).sum(0), g.sum(0)


CASES = {
    "GPT": RowNormalization(5, 128, 1e-5),
    "one": RowNormalization(3, 1, 1e-5),
    "ragged": RowNormalization(4, 37, 1e-3),
    "long": RowNormalization(2, 300, 1e-5, accumulate=True),
    "RMS": RowNormalization(4, 70, 1e-6, centred=False, bias=False),
    "bare": RowNormalization(3, 20, 1e-5, weight=False, bias=False),
    "float64": RowNormalization(4, 21, 1e-5, dtype="float64"),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_gradients(target, name):
    spec, module = CASES[name], ir.Module()
    emit_normalization(module, "forward", spec, target)
    emit_normalization_backward(module, "backward", spec, target)
    code = load(module, ["forward", "backward"], target)

    def call(function, *arrays):
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(code[function])(*[a.ctypes.data for a in arrays])

    rng = np.random.default_rng(0)
    x = (rng.standard_normal((spec.rows, spec.width)) * 3 + 20).astype(spec.dtype)
    g = rng.standard_normal(x.shape).astype(spec.dtype)
    w, b = (rng.standard_normal(spec.width).astype(spec.dtype) for _ in range(2))
    w, b = (w if spec.weight else np.ones_like(w)), (b if spec.bias else np.zeros_like(b))
    spaces = [np.full(x.size + 64, 5.0, spec.dtype) for _ in range(2)]
    y, dx = (space[: x.size].reshape(x.shape) for space in spaces)
    means, scales, dw, db = (np.full(n, 5.0, spec.dtype) for n in (spec.rows, spec.rows, spec.width, spec.width))
    call("forward", x, w, b, y, means, scales)
    call("backward", x, w, means, scales, g, dx, dw, db)
    wanted, wanted_dx, wanted_dw, wanted_db = expected(spec, x, w, b, g)
    tolerance = 300 * float(np.finfo(spec.dtype).eps)
    np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dx, wanted_dx + (5 if spec.accumulate else 0), rtol=tolerance, atol=tolerance)
    for found, right, given in ((dw, wanted_dw, spec.weight), (db, wanted_db, spec.bias)):
        np.testing.assert_allclose(found, right if given else 5.0, rtol=tolerance, atol=tolerance)
    assert all((space[x.size :] == 5).all() for space in spaces)


def test_nan_stays_in_its_row(target):
    spec, module = RowNormalization(3, 20, 1e-5), ir.Module()
    emit_normalization(module, "forward", spec, target)
    code = load(module, ["forward"], target)
    x = np.random.default_rng(0).standard_normal((3, 20)).astype("float32")
    x[1, 4] = np.nan
    ones, y, kept = np.ones(20, "float32"), np.empty_like(x), np.empty((2, 3), "float32")
    arrays = (x, ones, ones, y, kept[0], kept[1])
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(code["forward"])(*[a.ctypes.data for a in arrays])
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()
