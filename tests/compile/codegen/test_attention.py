"""Attention and its gradients against float64, behind a causal mask and without, at lengths that fit no tile."""

import ctypes
import re
from dataclasses import replace

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.attention import (
    Attention,
    Gradients,
    Heads,
    emit_attention,
    emit_attention_backward,
    probability_columns,
    workspace_size,
)
from backlit.compile.codegen.engine import load

NARROWEST = 32  # tiles are tested at all widths in test_gemm and test_convolution


def compiled(spec, target):
    module = ir.Module()
    emit_attention(module, "forward", spec, target)
    emit_attention_backward(module, "backward", spec, target)
    code = load(module, ["forward", "backward"], target)
    forward, backward = (
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n)(code[name]) for name, n in (("forward", 6), ("backward", 9))
    )
    forward.code = backward.code = code
    return forward, backward


def expected(spec, q, k, v, g):
    """The output and the three gradients, in float64."""
    q, k, v, g = (x.astype("float64") for x in (q, k, v, g))
    scores = spec.scale * q @ k.mT
    if spec.causal:
        scores = np.where(np.tri(spec.length, spec.context, dtype=bool), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dp = g @ v.mT
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * spec.scale
    return p @ v, ds @ k, ds.mT @ q, p.mT @ g


def dense(batch, heads, length, width):
    return Heads(heads * length * width, length * width, width)


def between_canaries(shape, dtype):
    space = np.full(int(np.prod(shape)) + 128, 55.0, dtype)
    return space, space[64:-64].reshape(shape)


SIZES = [
    (1, 1, 1, 1, 1),
    (2, 3, 64, 64, 32),
    (1, 2, 7, 7, 5),
    (2, 1, 33, 33, 20),
    (1, 1, 100, 100, 16),
    (1, 2, 9, 40, 8),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("sizes", "dtype"), [*[(s, "float32") for s in SIZES], ((1, 2, 40, 9, 17), "float64")], ids=str
)
def test_forward_and_gradients(target, sizes, causal, dtype):
    batch, heads, length, context, width = sizes
    rows, columns = dense(batch, heads, length, width), dense(batch, heads, context, width)
    spec = Attention(batch, heads, length, context, width, rows, columns, columns, rows, 0.3, causal, dtype)
    rng = np.random.default_rng(0)
    shapes = [(batch, heads, n, width) for n in (length, context, context, length)]
    q, k, v, g = (rng.standard_normal(s).astype(dtype) for s in shapes)
    kept_shape = (batch, heads, length, probability_columns(spec, target))
    wanted = [(batch, heads, n, width) for n in (length, length, context, context)]
    results = [between_canaries(s, dtype) for s in [*wanted, kept_shape, (workspace_size(spec, target),)]]
    out, dq, dk, dv, kept, workspace = (inner for _, inner in results)
    forward, backward = compiled(spec, target)
    forward(*[x.ctypes.data for x in (q, k, v, out, kept, workspace)])
    workspace[...] = np.nan
    backward(*[x.ctypes.data for x in (q, k, v, kept, g, dq, dk, dv, workspace)])
    tolerance = 200 * float(np.finfo(dtype).eps)
    for found, right in zip((out, dq, dk, dv), expected(spec, q, k, v, g), strict=True):
        np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)
    assert all((space[:64] == 55).all() and (space[-64:] == 55).all() for space, _ in results)


def test_heads_side_by_side_in_one_matrix(target):
    batch, heads, length, width = 2, 4, 20, 8
    spec, columns = Attention.packed(batch, heads, length, width), heads * width
    rng = np.random.default_rng(0)
    joint = rng.standard_normal((batch * length, 3 * columns)).astype("float32")
    g = rng.standard_normal((batch * length, columns)).astype("float32")
    out, gradient = np.empty_like(g), np.empty_like(joint)
    kept = np.empty((batch, heads, length, probability_columns(spec, target)), "float32")
    workspace = np.empty(workspace_size(spec, target), "float32")
    forward, backward = compiled(spec, target)

    def parts(matrix):
        return [matrix.ctypes.data + i * columns * 4 for i in range(3)]

    forward(*parts(joint), *[x.ctypes.data for x in (out, kept, workspace)])
    backward(*parts(joint), kept.ctypes.data, g.ctypes.data, *parts(gradient), workspace.ctypes.data)

    def by_head(matrix, i):
        return matrix.reshape(batch, length, -1, heads, width)[:, :, i].transpose(0, 2, 1, 3)

    q, k, v = (by_head(joint, i) for i in range(3))
    wanted = expected(spec, q, k, v, by_head(g, 0))
    np.testing.assert_allclose(by_head(out, 0), wanted[0], rtol=1e-4, atol=1e-5)
    for i in range(3):
        np.testing.assert_allclose(by_head(gradient, i), wanted[i + 1], rtol=1e-4, atol=1e-5)


def test_rows_that_lie_apart_and_gradients_elsewhere(target):
    """Each operand and each gradient in a matrix of its own, with gaps that stay as they are."""
    batch, heads, length, context, width = 2, 3, 17, 11, 5
    rng = np.random.default_rng(0)

    def placed(rows, gap):
        """An array of heads inside a larger one, and where its rows lie."""
        room = np.full((batch, rows, heads, width + gap), 55.0, "float32")
        steps = [s // 4 for s in room.strides]
        return room, room[..., :width].transpose(0, 2, 1, 3), Heads(steps[0], steps[2], steps[1])

    rows = (length, context, context, length)
    rooms, (q, k, v, g), places = zip(*[placed(n, gap) for gap, n in enumerate(rows, 1)], strict=True)
    outs, (out, dq, dk, dv), given = zip(*[placed(n, 4) for n in (length, *rows[:3])], strict=True)
    for x in (q, k, v, g):
        x[...] = rng.standard_normal(x.shape)
    forwards = Attention(batch, heads, length, context, width, *places[:3], given[0], 0.3, False)
    backwards = replace(forwards, out=places[3], gradients=Gradients(*given[1:]))
    kept = np.empty((batch, heads, length, probability_columns(forwards, target)), "float32")
    size = max(workspace_size(spec, target) for spec in (forwards, backwards))
    space, workspace = between_canaries((size,), "float32")
    at = [x.ctypes.data for x in rooms]
    compiled(forwards, target)[0](*at[:3], outs[0].ctypes.data, kept.ctypes.data, workspace.ctypes.data)
    gradients = [x.ctypes.data for x in outs[1:]]
    compiled(backwards, target)[1](*at[:3], kept.ctypes.data, at[3], *gradients, workspace.ctypes.data)
    for found, right in zip((out, dq, dk, dv), expected(forwards, q, k, v, g), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
    assert all((room[..., width:] == 55).all() for room in outs)
    assert (space[:64] == 55).all() and (space[-64:] == 55).all()


def test_what_a_query_may_not_see_does_not_reach_it(target):
    """A NaN in the last key and value leaves all rows before the last as they are."""
    rows = dense(1, 1, 12, 4)
    spec = Attention(1, 1, 12, 12, 4, rows, rows, rows, rows, 0.5, True)
    q, k, v = (np.random.default_rng(i).standard_normal((12, 4)).astype("float32") for i in range(3))
    out, kept = np.empty((12, 4), "float32"), np.empty((12, probability_columns(spec, target)), "float32")
    workspace = np.empty(workspace_size(spec, target), "float32")
    forward, _ = compiled(spec, target)
    k[-1] = np.nan
    forward(*[x.ctypes.data for x in (q, k, v, out, kept, workspace)])
    assert np.isfinite(out[:-1]).all() and np.isnan(out[-1]).all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_query_whose_scores_are_all_minus_infinity_sees_nothing(target, causal):
    """Its output is zero, as eagerly and in PyTorch."""
    rows = dense(1, 1, 12, 4)
    spec = Attention(1, 1, 12, 12, 4, rows, rows, rows, rows, 0.5, causal)
    q, k, v = (np.random.default_rng(i).random((12, 4)).astype("float32") for i in range(3))
    out, kept = np.empty((12, 4), "float32"), np.empty((12, probability_columns(spec, target)), "float32")
    workspace = np.empty(workspace_size(spec, target), "float32")
    forward, _ = compiled(spec, target)
    k[: 1 if causal else 12, 0] = -np.inf
    forward(*[x.ctypes.data for x in (q, k, v, out, kept, workspace)])
    assert (out[0] == 0).all() and (kept[0] == 0).all()
    assert np.isfinite(out).all() and (out[1:].all() if causal else not out.any())


@pytest.mark.parametrize(("emit", "arrays"), [(emit_attention, 3), (emit_attention_backward, 5)])
def test_the_head_that_comes_next_is_asked_for(target, emit, arrays):
    """Row by row: queries, keys and values; backwards the upstream gradient and the probabilities as well."""
    module, length = ir.Module(), 4  # all rows in one tile, each in one cache line
    emit(module, "kernel", Attention.packed(2, 2, length, 8), target)
    assert len(re.findall(r'call void @"llvm.prefetch.*, i32 0, i32 2, i32 1\)', str(module))) == length * arrays
