"""Convolutions of arrays as the library has them, against its own eager operations."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

import backlit as bl
from backlit.compile.codegen.dense_convolution import (
    DenseConvolution,
    emit_forward,
    emit_input_gradient,
    emit_weight_gradient,
    workspace_size,
)
from backlit.compile.codegen.engine import load

NARROWEST = 32  # tiles are tested at all widths in test_gemm and test_convolution

CASES = {
    "by Winograd": DenseConvolution(2, 17, 9, 8, 19, (3, 3), padding=(1, 0)),
    "not by Winograd": DenseConvolution(2, 17, 9, 8, 19, (3, 3), padding=(3, 1)),
    "nor here": DenseConvolution(2, 17, 9, 8, 19, (3, 3), winograd=False),
    "plain": DenseConvolution(3, 3, 8, 17, 20, (3, 3), padding=(1, 1)),
    "strided, dilated, grouped": DenseConvolution(2, 6, 11, 13, 10, (3, 2), (2, 1), (1, 2), (1, 3), 2),
    "float64": DenseConvolution(2, 4, 7, 7, 9, (3, 3), dtype="float64"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_as_eager(target, name, bias):
    spec, module = CASES[name], ir.Module()
    emit_forward(module, "forward", spec, target, bias)
    emit_input_gradient(module, "back", spec, target)
    emit_weight_gradient(module, "weights", spec, target)
    code = load(module, ["forward", "back", "weights"], target)

    def call(function, *arrays):
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(code[function])(*[a.ctypes.data for a in arrays])

    rng = np.random.default_rng(0)
    x = rng.standard_normal((spec.batch, spec.channels, spec.height, spec.width)).astype(spec.dtype)
    w = rng.standard_normal((spec.out_channels, spec.channels // spec.groups, *spec.kernel)).astype(spec.dtype)
    b = rng.standard_normal(spec.out_channels).astype(spec.dtype)
    tx, tw = bl.tensor(x, requires_grad=True), bl.tensor(w, requires_grad=True)
    settings = {"stride": spec.stride, "padding": spec.padding, "dilation": spec.dilation, "groups": spec.groups}
    ty = bl.nn.functional.conv2d(tx, tw, bl.tensor(b) if bias else None, **settings)
    g = rng.standard_normal(ty.shape).astype(spec.dtype)
    ty.backward(bl.tensor(g))

    room = workspace_size(spec, target)
    workspace = np.full(room + 64, np.nan, spec.dtype)
    y, dx, dw = np.empty_like(g), np.empty_like(x), np.empty_like(w)
    call("forward", x, w, b, y, workspace)
    call("back", g, w, dx, workspace)
    call("weights", x, g, dw, workspace)
    assert np.isnan(workspace[room:]).all()
    tolerance = 300 * float(np.finfo(spec.dtype).eps)
    for found, right in ((y, ty), (dx, tx.grad), (dw, tw.grad)):
        np.testing.assert_allclose(found, right.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_winograd_is_taken_where_it_pays_and_is_allowed():
    assert [name for name, spec in CASES.items() if spec.by_winograd] == ["by Winograd"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 groups"):
        emit_forward(ir.Module(), "f", DenseConvolution(1, 4, 5, 5, 6, (3, 3), groups=3))
