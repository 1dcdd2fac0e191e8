"""Convolution, ReLU and max pooling in one pass against eager mode's definitions, and the way back to the winners."""

import numpy as np
import pytest
from llvmlite import ir
from test_convolution import Buffer, compiled, make

from backlit.compile.codegen.convolution import Convolution, Images, emit_pack, packed_size
from backlit.compile.codegen.pooled_convolution import (
    CLOSED,
    emit_pooled_convolution,
    emit_unpool,
    pooled_images,
    winner_bytes,
)
from backlit.ops.convolution import convolve
from backlit.ops.windows import Windows

NARROWEST = 32  # tiles are tested at all widths in test_gemm and test_convolution

CASES = {
    "first layer": (make(2, 1, 28, 28, 16, (3, 3), padding=(1, 1)), (2, 2)),
    "second layer": (make(1, 16, 14, 14, 35, (3, 3), padding=(1, 1)), (2, 2)),
    "left over": (make(2, 3, 9, 11, 20, (3, 3), padding=(1, 1)), (2, 2)),
    "uneven windows": (make(1, 3, 10, 13, 5, (5, 3), stride=(1, 2)), (3, 2)),
    "float64": (make(1, 4, 8, 8, 9, (3, 3), padding=(1, 1), dtype="float64"), (2, 2)),
}


def windows_of(values, pool):
    """(N, C, rows, columns, window): whole windows side by side."""
    (high, wide), (n, c, h, w) = pool, values.shape
    cut = values[:, :, : h // high * high, : w // wide * wide]
    cut = cut.reshape(n, c, h // high, high, w // wide, wide)
    return cut.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // high, w // wide, high * wide)


def convolved(spec, x, w, bias):
    settings = zip(spec.kernel, spec.stride, spec.padding, spec.dilation, x.shape[2:], spec.output, strict=True)
    y = convolve(np.ascontiguousarray(x), w, Windows(*zip(*settings, strict=True)), 1)
    return y + bias[:, None, None]


def forward(spec, pool, target, relu, x_values, w, bias):
    x, out = Buffer(spec.x, spec.dtype), Buffer(pooled_images(spec, pool, margin=1), spec.dtype, 3.0)
    x.pixels[...] = x_values
    packed = np.empty(packed_size(spec, target), spec.dtype)
    compiled(emit_pack, spec, target=target, pointers=2)(w, packed)
    layout = winner_bytes(out.layout)
    winners = np.full(layout.size + 64, 99, "uint8")
    run = compiled(emit_pooled_convolution, spec, pool, out.layout, target=target, pointers=5, relu=relu)
    run(x.inner, packed, out.inner, bias, winners)
    assert out.intact() and (winners[layout.size :] == 99).all()
    shape = (layout.batch, layout.height, layout.width, layout.channels)
    return x, out, winners[: layout.size].reshape(shape).transpose(0, 3, 1, 2)


def drawn(spec, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((spec.x.batch, spec.x.height, spec.x.width, spec.x.channels))
    w = rng.standard_normal((spec.out_channels, spec.x.channels, *spec.kernel)).astype(spec.dtype)
    return x, w, rng.standard_normal(spec.out_channels).astype(spec.dtype)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("relu", [True, False])
def test_forward_and_unpooling(target, name, relu):
    spec, pool = CASES[name]
    x_values, w, bias = drawn(spec)
    x, out, winners = forward(spec, pool, target, relu, x_values, w, bias)
    y = windows_of(convolved(spec, x.values, w, bias), pool)
    largest = np.maximum(y.max(-1), 0) if relu else y.max(-1)
    np.testing.assert_allclose(out.values, largest, rtol=1e-4, atol=1e-4)
    clear = np.sort(y, -1)[..., -1] - np.sort(y, -1)[..., -2] > 1e-3
    clear &= np.abs(y.max(-1)) > 1e-3
    wanted = np.where(relu & (y.max(-1) <= 0), CLOSED, y.argmax(-1))
    np.testing.assert_array_equal(winners[clear], wanted[clear])
    check_unpool(spec, pool, target, out.layout, winners)


def check_unpool(spec, pool, target, layout, winners):
    upstream, dy = Buffer(layout, spec.dtype), Buffer(spec.y(2), spec.dtype, 4.0)
    upstream.pixels[...] = np.random.default_rng(1).standard_normal(upstream.pixels.shape)
    dbias = np.empty(spec.out_channels, spec.dtype)
    run = compiled(emit_unpool, spec, pool, layout, dy.layout, target=target, pointers=4)
    run(upstream.inner, np.ascontiguousarray(winners.transpose(0, 2, 3, 1)), dy.inner, dbias)
    assert dy.intact()
    each = np.arange(pool[0] * pool[1]) == winners[..., None]
    np.testing.assert_array_equal(windows_of(dy.values, pool), np.where(each, upstream.values[..., None], 0))
    assert np.count_nonzero(dy.values) == np.count_nonzero(each)
    passed = np.where(winners == CLOSED, 0, upstream.values)
    np.testing.assert_allclose(dbias, passed.sum((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_nan_wins_and_closes_the_gate(target):
    spec, pool = make(1, 1, 4, 4, 3, (1, 1)), (2, 2)
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    x[0, 1, 0, 0] = np.nan
    w, bias = np.ones((3, 1, 1, 1), "float32"), np.zeros(3, "float32")
    _, out, winners = forward(spec, pool, target, True, x, w, bias)
    assert np.isnan(out.values[0, :, 0, 0]).all() and not np.isnan(out.values[0, :, 1:]).any()
    assert (winners[0, :, 0, 0] == CLOSED).all() and (winners[0, :, 1, 1] == 3).all()
    _, out, winners = forward(spec, pool, target, False, x, w, bias)
    assert np.isnan(out.values[0, :, 0, 0]).all() and (winners[0, :, 0, 0] == 2).all()


def test_first_of_equals_wins(target):
    spec = make(1, 1, 2, 2, 17, (1, 1))
    _, _, winners = forward(
        spec, (2, 2), target, True, np.ones((1, 2, 2, 1)), np.ones((17, 1, 1, 1), "float32"), np.zeros(17, "float32")
    )
    assert (winners == 0).all()


def test_groups_and_large_windows_are_refused():
    images = Images.of(1, 20, 20, 4)
    for spec, pool in [(Convolution(images, 4, (1, 1), groups=2), (2, 2)), (Convolution(images, 4, (1, 1)), (16, 16))]:
        with pytest.raises(ValueError, match="one group, at most 254"):
            emit_pooled_convolution(ir.Module(), "f", spec, pool, pooled_images(spec, pool))
