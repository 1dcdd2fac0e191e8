"""Winograd's convolution against float64: forwards, with pooling, and the gradient to the input."""

import numpy as np
import pytest
from llvmlite import ir
from test_convolution import Buffer, compiled, expected, make
from test_pooled_convolution import windows_of

from backlit.compile.codegen import winograd_convolution as winograd
from backlit.compile.codegen.convolution import emit_pack, emit_pack_back, packed_back_size, packed_size
from backlit.compile.codegen.pooled_convolution import CLOSED, pooled_images, winner_bytes

NARROWEST = 32  # tiles are tested at all widths in test_gemm and test_convolution

CASES = {
    "even": make(2, 16, 14, 14, 32, (3, 3), padding=(1, 1)),
    "odd": make(2, 5, 9, 11, 23, (3, 3), padding=(1, 1)),
    "one pixel": make(1, 3, 1, 1, 4, (3, 3), padding=(1, 1)),
    "no padding": make(1, 20, 7, 8, 3, (3, 3)),
    "wide padding": make(1, 4, 5, 6, 40, (3, 3), padding=(2, 1)),
    "many rows": make(1, 2, 41, 7, 5, (3, 3), padding=(1, 1)),
    "float64": make(1, 6, 9, 8, 10, (3, 3), padding=(1, 1), dtype="float64"),
}


def transformed(spec, target, w, back):
    emit, size = (emit_pack_back, packed_back_size) if back else (emit_pack, packed_size)
    packed, result = (
        np.empty(size(spec, target), w.dtype),
        np.empty(winograd.transformed_size(spec, back, target), w.dtype),
    )
    compiled(emit, spec, target=target, pointers=2)(w, packed)
    compiled(winograd.emit_transform, spec, target=target, pointers=2, back=back)(packed, result)
    return result


@pytest.mark.parametrize("name", CASES)
def test_forward_and_gradient_to_the_input(target, name):
    spec, dtype = CASES[name], CASES[name].dtype
    rng = np.random.default_rng(0)
    x, dy = Buffer(spec.x, dtype), Buffer(spec.y(), dtype)
    y, dx = Buffer(spec.y(), dtype, 5.0), Buffer(spec.x, dtype, 5.0)
    x.pixels[...] = rng.standard_normal(x.pixels.shape)
    dy.pixels[...] = rng.standard_normal(dy.pixels.shape)
    w = rng.standard_normal((spec.out_channels, spec.x.channels, 3, 3)).astype(dtype)
    bias = rng.standard_normal(spec.out_channels).astype(dtype)
    room = winograd.workspace_size(spec, target)
    workspace = np.full(room + 64, 8.0, dtype)
    forward = compiled(winograd.emit_convolution, spec, y.layout, target=target, pointers=5, bias=True)
    forward(x.inner, transformed(spec, target, w, False), y.inner, bias, workspace)
    back = compiled(winograd.emit_backward_data, spec, dy.layout, dx.layout, target=target, pointers=4)
    back(dy.inner, transformed(spec, target, w, True), dx.inner, workspace)
    wanted, wanted_dx, _ = expected(spec, x.values, w, dy.values)
    tolerance = 1000 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y.values, wanted + bias[:, None, None], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dx.values, wanted_dx, rtol=tolerance, atol=tolerance)
    assert x.intact() and y.intact() and dy.intact() and dx.intact() and (workspace[room:] == 8).all()


@pytest.mark.parametrize("name", ["even", "odd", "float64"])
@pytest.mark.parametrize("relu", [True, False])
def test_pooled(target, name, relu):
    spec, dtype = CASES[name], CASES[name].dtype
    rng = np.random.default_rng(0)
    x, out = Buffer(spec.x, dtype), Buffer(pooled_images(spec, (2, 2), 1), dtype, 3.0)
    x.pixels[...] = rng.standard_normal(x.pixels.shape)
    w = rng.standard_normal((spec.out_channels, spec.x.channels, 3, 3)).astype(dtype)
    bias = rng.standard_normal(spec.out_channels).astype(dtype)
    layout = winner_bytes(out.layout)
    winners = np.full(layout.size + 64, 99, "uint8")
    workspace = np.empty(winograd.workspace_size(spec, target), dtype)
    run = compiled(winograd.emit_pooled_convolution, spec, out.layout, target=target, pointers=6, relu=relu)
    run(x.inner, transformed(spec, target, w, False), out.inner, bias, winners, workspace)
    assert out.intact() and (winners[layout.size :] == 99).all()
    y = windows_of(
        expected(spec, x.values, w, np.zeros((*x.values.shape[:1], spec.out_channels, *spec.output)))[0], (2, 2)
    )
    y = y + bias[:, None, None, None]
    largest = np.maximum(y.max(-1), 0) if relu else y.max(-1)
    np.testing.assert_allclose(out.values, largest, rtol=1e-4, atol=1e-4)
    shape = (layout.batch, layout.height, layout.width, layout.channels)
    found = winners[: layout.size].reshape(shape).transpose(0, 3, 1, 2)
    clear = (np.sort(y, -1)[..., -1] - np.sort(y, -1)[..., -2] > 1e-3) & (np.abs(y.max(-1)) > 1e-3)
    wanted = np.where(relu & (y.max(-1) <= 0), CLOSED, y.argmax(-1))
    np.testing.assert_array_equal(found[clear], wanted[clear])


def test_what_is_not_done_is_refused():
    strided = make(1, 3, 9, 9, 4, (3, 3), stride=(2, 2), padding=(1, 1))
    assert not winograd.supports(strided) and winograd.supports(CASES["even"])
    assert winograd.pays(CASES["even"]) and not winograd.pays(CASES["odd"])
    with pytest.raises(ValueError, match=r"stride \(2, 2\)"):
        winograd.emit_convolution(ir.Module(), "f", strided, strided.y())
    spec = make(1, 3, 9, 9, 4, (3, 3))
    with pytest.raises(ValueError, match="margin of 0"):
        winograd.emit_backward_data(ir.Module(), "f", spec, spec.y(0), spec.x)
