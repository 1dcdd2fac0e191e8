"""Direct convolutions and both gradients against float64 sums over windows, within the buffers they are given."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.backward_weights import emit_backward_weights, workspace_size_weights
from backlit.compile.codegen.convolution import (
    Convolution,
    Images,
    emit_backward_data,
    emit_convolution,
    emit_pack,
    emit_pack_back,
    packed_back_size,
    packed_size,
)
from backlit.compile.codegen.engine import load
from backlit.compile.codegen.target import host_target

CANARY = 777.0


def compiled(emit, spec, *arguments, target, pointers, **options):
    module = ir.Module()
    emit(module, "kernel", spec, *arguments, target=target, **options)
    code = load(module, ["kernel"], target)
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers)(code["kernel"])

    def run(*arrays):
        native(*[a.ctypes.data for a in arrays])

    run.code = code
    return run


class Buffer:
    """Images in memory between canaries, the margins as zeros or as canaries."""

    def __init__(self, layout, dtype, margin_value=0.0):
        self.layout = layout
        self.space = np.full(layout.size + 256, CANARY, dtype)
        self.inner = self.space[128 : 128 + layout.size]
        self.inner[...] = margin_value
        size = self.inner.itemsize
        strides = tuple(size * s for s in (layout.image, layout.row, layout.pixel, 1))
        shape = (layout.batch, layout.height, layout.width, layout.channels)
        self.pixels = np.lib.stride_tricks.as_strided(self.inner[layout.origin :], shape, strides)
        self.margin_value = margin_value

    @property
    def values(self):
        """As (N, C, H, W)."""
        return self.pixels.transpose(0, 3, 1, 2)

    def intact(self):
        """Nothing was written outside the pixels."""
        outside = self.inner.copy()
        kept, self.inner = self.inner, outside
        pixels = np.lib.stride_tricks.as_strided(outside[self.layout.origin :], self.pixels.shape, self.pixels.strides)
        pixels[...] = self.margin_value
        self.inner = kept
        edges = np.concatenate([self.space[:128], self.space[-128:]])
        return (edges == CANARY).all() and (outside == self.margin_value).all()


def windows(x, spec):
    """(N, C, kernel rows, kernel columns, rows, columns): what each tap sees, as a writable view of padded x."""
    (down, across), (dil_down, dil_across), (high, wide) = spec.stride, spec.dilation, spec.kernel
    n, c, h, w = x.strides
    height, width = spec.output
    shape = (*x.shape[:2], high, wide, height, width)
    return np.lib.stride_tricks.as_strided(x, shape, (n, c, h * dil_down, w * dil_across, h * down, w * across))


def expected(spec, x, w, g):
    """y, dx and dw in float64."""
    top, left = spec.padding
    x, w, g = x.astype("float64"), w.astype("float64"), g.astype("float64")
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    spread = np.zeros_like(padded)
    n, groups = len(x), spec.groups
    seen = windows(padded, spec).reshape(n, groups, -1, *spec.kernel, *spec.output)
    weights = w.reshape(groups, -1, *w.shape[1:])
    above = g.reshape(n, groups, -1, *spec.output)
    y = np.einsum("ngcrsyx,gocrs->ngoyx", seen, weights).reshape(g.shape)
    dw = np.einsum("ngcrsyx,ngoyx->gocrs", seen, above).reshape(w.shape)
    back = np.einsum("ngoyx,gocrs->ngcrsyx", above, weights).reshape(n, -1, *spec.kernel, *spec.output)
    into = windows(spread, spec)
    for r in range(spec.kernel[0]):
        for s in range(spec.kernel[1]):
            into[:, :, r, s] += back[:, :, r, s]
    height, width = x.shape[2:]
    return y, spread[:, :, top : top + height, left : left + width], dw


def make(batch, channels, height, width, out_channels, kernel, stride=(1, 1), padding=(0, 0), **options):
    x = Images.of(batch, height, width, channels, max(padding))
    return Convolution(x, out_channels, kernel, stride, padding, **options)


CASES = {
    "one channel": make(2, 1, 28, 28, 16, (3, 3), padding=(1, 1)),
    "three channels": make(1, 3, 12, 32, 32, (3, 3), padding=(1, 1)),
    "small images": make(2, 16, 7, 7, 32, (3, 3), padding=(1, 1)),
    "one pixel": make(2, 5, 1, 1, 7, (1, 1)),
    "pointwise": make(2, 9, 5, 6, 40, (1, 1)),
    "five by five": make(1, 4, 11, 13, 20, (5, 5), padding=(2, 2)),
    "uneven": make(1, 6, 9, 17, 10, (2, 5), stride=(1, 2), padding=(0, 2), dilation=(3, 1)),
    "stride 2": make(2, 6, 11, 13, 10, (3, 3), stride=(2, 2), padding=(1, 1)),
    "stride 2, even": make(2, 6, 10, 12, 10, (4, 4), stride=(2, 2), padding=(3, 3)),
    "stride beyond the kernel": make(2, 3, 11, 13, 50, (1, 2), stride=(3, 4)),
    "dilation": make(1, 6, 11, 13, 10, (3, 3), padding=(2, 2), dilation=(2, 2)),
    "dilation and stride": make(1, 6, 21, 23, 10, (3, 3), stride=(2, 2), padding=(1, 1), dilation=(3, 2)),
    "groups": make(2, 6, 8, 8, 20, (3, 3), padding=(1, 1), groups=2),
    "depthwise": make(1, 5, 8, 8, 10, (3, 3), stride=(2, 2), padding=(1, 1), groups=5),
    "padding beyond the kernel": make(1, 2, 5, 5, 3, (2, 2), padding=(3, 3)),
    "float64": make(1, 6, 9, 9, 10, (3, 3), padding=(1, 1), dtype="float64"),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_both_gradients(target, name):
    spec, dtype = CASES[name], CASES[name].dtype
    rng = np.random.default_rng(0)
    y_layout = spec.y()
    x, dy = Buffer(spec.x, dtype), Buffer(y_layout, dtype)
    y, dx = Buffer(y_layout, dtype, 5.0), Buffer(spec.x, dtype, 5.0)
    x.pixels[...] = rng.standard_normal(x.pixels.shape)
    dy.pixels[...] = rng.standard_normal(dy.pixels.shape)
    w = rng.standard_normal((spec.out_channels, spec.group_channels[0], *spec.kernel)).astype(dtype)
    bias = rng.standard_normal(spec.out_channels).astype(dtype)
    packed, packed_back = np.empty(packed_size(spec, target), dtype), np.empty(packed_back_size(spec, target), dtype)
    workspace, dw = np.empty(workspace_size_weights(spec, target), dtype), np.empty_like(w)

    compiled(emit_pack, spec, target=target, pointers=2)(w, packed)
    compiled(emit_convolution, spec, y_layout, target=target, pointers=4, bias=True)(x.inner, packed, y.inner, bias)
    compiled(emit_pack_back, spec, target=target, pointers=2)(w, packed_back)
    compiled(emit_backward_data, spec, y_layout, spec.x, target=target, pointers=3)(dy.inner, packed_back, dx.inner)
    compiled(emit_backward_weights, spec, y_layout, target=target, pointers=4)(x.inner, dy.inner, dw, workspace)

    wanted, wanted_dx, wanted_dw = expected(spec, x.values, w, dy.values)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y.values, wanted + bias[:, None, None], rtol=30 * eps, atol=100 * eps)
    np.testing.assert_allclose(dx.values, wanted_dx, rtol=30 * eps, atol=100 * eps)
    np.testing.assert_allclose(dw, wanted_dw, rtol=100 * eps, atol=300 * eps)
    assert x.intact() and y.intact() and dy.intact() and dx.intact()


def test_epilogue_of_forward_and_backward(target):
    """ReLU and a residual forwards; the ReLU's gate of the layer before backwards."""
    spec = make(2, 6, 9, 9, 21, (3, 3), padding=(1, 1))
    y_layout, rng = spec.y(), np.random.default_rng(0)
    x, dy, y, residual = [Buffer(layout, "float32") for layout in (spec.x, y_layout, y_layout, y_layout)]
    dx = Buffer(spec.x, "float32")
    for buffer in (x, dy, residual):
        buffer.pixels[...] = rng.standard_normal(buffer.pixels.shape)
    w = rng.standard_normal((21, 6, 3, 3)).astype("float32")
    packed, packed_back = (np.empty(f(spec, target), "float32") for f in (packed_size, packed_back_size))

    def add_relu(b, tile, other):
        return tile.map(lambda value, at, column, mask: b.maximum(value + other.load(at, mask=mask), 0.0))

    def gate(b, tile, before):
        return tile.map(lambda value, at, column, mask: b.where(before.load(at, mask=mask) > 0, value, 0.0))

    compiled(emit_pack, spec, target=target, pointers=2)(w, packed)
    compiled(emit_pack_back, spec, target=target, pointers=2)(w, packed_back)
    forward = compiled(
        emit_convolution, spec, y_layout, target=target, pointers=5, epilogue=add_relu, extras=["float32"]
    )
    forward(x.inner, packed, y.inner, y.inner, residual.inner)
    backward = compiled(
        emit_backward_data, spec, y_layout, spec.x, target=target, pointers=4, epilogue=gate, extras=["float32"]
    )
    backward(dy.inner, packed_back, dx.inner, x.inner)
    wanted, wanted_dx, _ = expected(spec, x.values, w, dy.values)
    np.testing.assert_allclose(y.values, np.maximum(wanted + residual.values, 0), atol=1e-4)
    np.testing.assert_allclose(dx.values, np.where(x.values > 0, wanted_dx, 0), atol=1e-4)


def test_settings_that_do_not_fit_are_refused():
    images = Images.of(1, 4, 4, 6)
    with pytest.raises(ValueError, match="5 groups"):
        Convolution(images, 10, (3, 3), groups=5)
    with pytest.raises(ValueError, match="needs a margin"):
        Convolution(images, 10, (3, 3), padding=(1, 1))
    with pytest.raises(ValueError, match="no room"):
        Convolution(images, 10, (5, 5))
    with pytest.raises(ValueError, match="margin of 0; it needs 2"):
        spec = Convolution(images, 10, (3, 3))
        emit_backward_data(ir.Module(), "f", spec, spec.y(0), images, host_target())


def test_rows_of_images_do_not_alias():
    for width, channels in [(14, 16), (16, 32), (30, 16), (7, 3)]:
        row = Images.of(1, 8, width, channels, 1).row
        assert row >= (width + 2) * channels
        assert row % 16 or row // 16 % 2
