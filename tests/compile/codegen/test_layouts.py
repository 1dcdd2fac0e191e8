"""Images to channels innermost and back, and margins left alone."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.images import Images
from backlit.compile.codegen.layouts import emit_from_images, emit_to_images


@pytest.mark.parametrize(
    "shape", [(2, 1, 28, 28), (1, 3, 5, 33), (2, 16, 4, 16), (3, 37, 3, 7), (1, 20, 1, 1)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back(target, shape, dtype):
    n, c, h, w = shape
    images = Images.of(n, h, w, c, margin=1)
    module = ir.Module()
    emit_to_images(module, "there", images, dtype, target)
    emit_from_images(module, "back", images, dtype, target)
    code = load(module, ["there", "back"], target)
    there, back = (ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2)(code[name]) for name in ("there", "back"))
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    buffer, again = np.full(images.size, 9.0, dtype), np.full((x.size + 40,), 9.0, dtype)
    there(x.ctypes.data, buffer.ctypes.data)
    size = buffer.itemsize
    strides = tuple(size * s for s in (images.image, images.row, images.pixel, 1))
    pixels = np.lib.stride_tricks.as_strided(buffer[images.origin :], (n, h, w, c), strides)
    np.testing.assert_array_equal(pixels.transpose(0, 3, 1, 2), x)
    assert (buffer == 9.0).sum() == buffer.size - x.size
    back(buffer.ctypes.data, again.ctypes.data)
    np.testing.assert_array_equal(again[: x.size].reshape(shape), x)
    assert (again[x.size :] == 9.0).all()
