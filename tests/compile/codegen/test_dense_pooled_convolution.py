"""Convolution, ReLU and pooling of plain arrays with all gradients, against eager mode."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

import backlit as bl
from backlit.compile.codegen import routed_convolution, winograd_convolution
from backlit.compile.codegen.dense_convolution import DenseConvolution
from backlit.compile.codegen.dense_pooled_convolution import (
    PooledConvolution,
    emit_backward,
    emit_forward,
    workspace_size,
)
from backlit.compile.codegen.engine import load

NARROWEST = 32

CASES = {
    "first layer": PooledConvolution(DenseConvolution(2, 1, 8, 10, 16, (3, 3), padding=(1, 1))),
    "by Winograd, routed": PooledConvolution(DenseConvolution(3, 16, 8, 8, 33, (3, 3), padding=(1, 1))),
    "direct, routed": PooledConvolution(DenseConvolution(2, 20, 11, 9, 6, (2, 3), (1, 2), (1, 0)), (3, 2), relu=False),
    "float64": PooledConvolution(DenseConvolution(2, 3, 7, 9, 5, (3, 3), dtype="float64")),
}


def test_cases_go_each_way():
    assert not routed_convolution.supports(CASES["first layer"].one)
    assert winograd_convolution.pays(CASES["by Winograd, routed"].one)
    assert routed_convolution.supports(CASES["by Winograd, routed"].one)
    assert not winograd_convolution.pays(CASES["direct, routed"].one)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("needs_dx", [True, False])
def test_as_eager(target, name, needs_dx):
    spec, module = CASES[name], ir.Module()
    emit_forward(module, "forward", spec, target)
    emit_backward(module, "backward", spec, target, needs_dx)
    code = load(module, ["forward", "backward"], target)

    def call(function, *arrays):
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(code[function])(*[a.ctypes.data for a in arrays])

    shapes, dtype, rng = spec.convolution, spec.one.dtype, np.random.default_rng(0)
    x = rng.standard_normal((shapes.batch, shapes.channels, shapes.height, shapes.width)).astype(dtype)
    w = rng.standard_normal((shapes.out_channels, shapes.channels, *shapes.kernel)).astype(dtype)
    bias = rng.standard_normal(shapes.out_channels).astype(dtype)
    tx, tw, tb = (bl.tensor(a, requires_grad=True) for a in (x, w, bias))
    ty = bl.nn.functional.conv2d(tx, tw, tb, stride=shapes.stride, padding=shapes.padding)
    ty = bl.nn.functional.max_pool2d(bl.nn.functional.relu(ty) if spec.relu else ty, spec.pool)
    assert ty.shape == spec.shape
    g = rng.standard_normal(ty.shape).astype(dtype)
    ty.backward(bl.tensor(g))

    room = workspace_size(spec, target)
    workspace, y, winners = np.full(room + 64, np.nan, dtype), np.empty_like(g), np.full(spec.winners + 64, 77, "uint8")
    dx, dw, dbias = np.full_like(x, 3), np.empty_like(w), np.empty_like(bias)
    call("forward", x, w, bias, y, winners, workspace)
    workspace[:room] = np.nan
    call("backward", x, w, g, winners, dx, dw, dbias, workspace)
    assert np.isnan(workspace[room:]).all() and (winners[spec.winners :] == 77).all()
    tolerance = 1000 * float(np.finfo(dtype).eps)
    wanted = tx.grad.numpy() if needs_dx else np.full_like(x, 3)
    for found, right in ((y, ty.detach().numpy()), (dx, wanted), (dw, tw.grad.numpy()), (dbias, tb.grad.numpy())):
        np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)
