"""Gradients over routed entries only: the same as the dense kernels give for the unpooled gradient."""

import numpy as np
import pytest
from llvmlite import ir
from test_convolution import Buffer, compiled, expected, make

from backlit.compile.codegen.images import Images
from backlit.compile.codegen.pooled_convolution import CLOSED, emit_unpool, pooled_images, winner_bytes
from backlit.compile.codegen.routed_convolution import (
    emit_pack_patches,
    emit_routed_data,
    emit_routed_weights,
    emit_routes,
    patch_size,
    supports,
)

NARROWEST = 32  # tiles are tested at all widths in test_gemm and test_convolution

CASES = {
    "whole vectors": (make(2, 32, 8, 10, 7, (3, 3), padding=(1, 1)), (2, 2)),
    "ragged": (make(2, 20, 9, 11, 17, (3, 3), padding=(1, 1)), (2, 2)),
    "uneven": (make(1, 18, 13, 12, 5, (2, 4), stride=(2, 1), padding=(1, 2), dilation=(2, 1)), (3, 2)),
    "float64": (make(2, 9, 8, 8, 6, (3, 3), padding=(1, 1), dtype="float64"), (2, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_same_as_dense(target, name):
    spec, pool = CASES[name]
    assert supports(spec, target)
    rng, dtype = np.random.default_rng(0), spec.dtype
    upstream = Buffer(pooled_images(spec, pool, 1), dtype)
    upstream.pixels[...] = rng.standard_normal(upstream.pixels.shape)
    layout = winner_bytes(upstream.layout)
    winners = rng.choice(np.array([*range(pool[0] * pool[1]), CLOSED], "uint8"), layout.size)
    x, dx, dy = Buffer(spec.x, dtype), Buffer(spec.x, dtype), Buffer(spec.y(), dtype)
    x.pixels[...] = rng.standard_normal(x.pixels.shape)
    w = rng.standard_normal((spec.out_channels, spec.x.channels, *spec.kernel)).astype(dtype)
    entries, places = np.full(layout.size + 64, 9, dtype), np.full(layout.size + 64, 9, "int32")
    dbias, patches, sums = np.empty(spec.out_channels, dtype), *np.empty((2, patch_size(spec, target)), dtype)
    dw, dense_bias = np.empty_like(w), np.empty(spec.out_channels, dtype)

    compiled(emit_unpool, spec, pool, upstream.layout, dy.layout, target=target, pointers=4)(
        upstream.inner, winners, dy.inner, dense_bias
    )
    compiled(emit_routes, spec, pool, upstream.layout, target=target, pointers=5)(
        upstream.inner, winners, entries, places, dbias
    )
    assert (entries[layout.size :] == 9).all() and (places[layout.size :] == 9).all()
    windows = layout.height * layout.width
    compiled(emit_pack_patches, spec, target=target, pointers=2)(w, patches)
    compiled(emit_routed_data, spec, windows, spec.x, target=target, pointers=4)(entries, places, patches, dx.inner)
    compiled(emit_routed_weights, spec, windows, target=target, pointers=5)(x.inner, entries, places, dw, sums)

    _, wanted_dx, wanted_dw = expected(spec, x.values, w, dy.values)
    tolerance = 300 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(dx.values, wanted_dx, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dw, wanted_dw, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dbias, dense_bias, rtol=tolerance, atol=tolerance)
    for buffer in (x, dx):
        assert (buffer.space[:128] == buffer.space[0]).all() and (buffer.space[-128:] == buffer.space[0]).all()


def test_what_is_not_done_is_said(target):
    assert not supports(make(1, 1, 8, 8, 4, (3, 3)), target.narrowed(16) if target.vector_bytes > 16 else target)
    assert not supports(make(1, 32, 8, 8, 4, (7, 7)), target)
    assert not supports(make(1, 32, 8, 8, 4, (3, 3), groups=2), target)
    spec = make(1, 16, 8, 8, 4, (3, 3), padding=(1, 1))
    with pytest.raises(ValueError, match="placed as in x"):
        emit_routed_data(ir.Module(), "f", spec, 16, Images.of(1, 8, 8, 16, 2))
