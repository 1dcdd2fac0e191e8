"""Products that pass over the zeros of their left side, against NumPy, with few zeros and with many."""

import dataclasses
import itertools

import numpy as np
import pytest
from llvmlite import ir
from test_gemm import compiled, guarded, operands

from backlit.compile.codegen import gemm_plan
from backlit.compile.codegen.gemm import Gemm, Touch, emit_gemm, workspace_size
from backlit.compile.codegen.gemm_plan import plan
from backlit.compile.codegen.target import host_target

SHAPES = [(1, 1, 1), (7, 45, 20), (30, 16, 33), (5, 131, 64), (64, 70, 150)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Lists for small products too, and blocks of few rows."""
    for name in ("_MANY_ROWS", "_WIDE", "_LONG"):
        monkeypatch.setattr(gemm_plan, name, 0)
    monkeypatch.setattr(gemm_plan, "_LISTED_BYTES", 4096)


def product(spec, target, a, b, c):
    """What the native product leaves in C, of which the rest must stay."""
    assert plan(spec, target).sparse is not None
    out, intact = guarded((spec.m, spec.c_stride), spec.dtype)
    out[...] = c
    workspace, workspace_intact = guarded((workspace_size(spec, target),), spec.dtype)
    compiled(spec, target)(a, b, out, workspace)
    assert intact() and workspace_intact()
    return out


def sparse_operands(spec, share):
    """A with a ``share`` of numbers other than zero, and B."""
    rng = np.random.default_rng(0)
    a, b = operands(spec, rng)
    a[rng.random(a.shape) >= share] = 0.0
    return a, b


@pytest.mark.parametrize(("transpose_a", "transpose_b"), [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(target, shape, transpose_a, transpose_b):
    spec = Gemm.of(*shape, transpose_a=transpose_a, transpose_b=transpose_b)
    for dtype, accumulate, share in [("float32", False, 0.5), ("float32", True, 0.1), ("float64", False, 0.5)]:
        given = dataclasses.replace(spec, dtype=dtype, accumulate=accumulate, c_stride=spec.n + 3, zeros=True)
        a, b = sparse_operands(given, share)
        found = product(given, target, a, b, 2.0)
        wanted = a.astype("float64") @ b + (2.0 if accumulate else 0.0)
        bound = (np.abs(a).astype("float64") @ np.abs(b) + 2) * given.k * np.finfo(dtype).eps
        assert (np.abs(found[:, : given.n] - wanted) <= bound).all()
        assert (found[:, given.n :] == 2.0).all()


@pytest.mark.parametrize("strides", [(150, 2), (3, 100), (1, 40), (0, 1), (1, 0)], ids=str)
def test_however_the_left_side_lies(target, strides):
    """A slice with a step has neither contiguous rows nor columns; one that is expanded repeats them."""
    spec = Gemm(30, 50, 70, strides, (50, 1), 50, zeros=True)
    rng = np.random.default_rng(0)
    flat = rng.standard_normal(29 * strides[0] + 69 * strides[1] + 1).astype("float32")
    flat[rng.random(flat.size) < 0.5] = 0.0
    a = np.lib.stride_tricks.as_strided(flat, (30, 70), (4 * strides[0], 4 * strides[1]))
    b = rng.standard_normal((70, 50)).astype("float32")
    np.testing.assert_allclose(product(spec, target, a, b, 7.0), a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("k", "runs"), [(64, 1), (126, 1), (128, 1), (129, 3)])
def test_a_sum_of_two_short_runs_is_one_run(target, monkeypatch, k, runs):
    """Between runs the sums would wait in memory, as many as the result has elements."""
    spec = Gemm.of(16, 112, k, transpose_a=True, zeros=True)
    monkeypatch.setattr(gemm_plan, "_LISTED_BYTES", 64 * plan(spec, target).sparse.stride * 4)
    assert plan(spec, target).runs(spec) == runs
    a, b = sparse_operands(spec, 0.5)
    np.testing.assert_allclose(product(spec, target, a, b, 0.0), a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transpose_a", [False, True])
def test_blocks_of_as_many_rows_as_a_byte_can_count(target, monkeypatch, transpose_a):
    """However much a cache holds: places on lists are bytes."""
    monkeypatch.setattr(gemm_plan, "_LISTED_BYTES", 1 << 20)
    spec = Gemm.of(19, 24, 600, transpose_a=transpose_a, zeros=True)
    assert plan(spec, target).sparse.depth == 256
    a, b = sparse_operands(spec, 0.5)
    np.testing.assert_allclose(product(spec, target, a, b, 0.0), a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.59, 0.61, 1.0])
def test_however_many_zeros_there_are(target, share):
    """Where there are few, the product is computed as any other."""
    spec = Gemm.of(40, 50, 60, transpose_a=True, zeros=True)
    a, b = operands(spec, np.random.default_rng(0))
    a[np.random.default_rng(1).permutation(a.size).reshape(a.shape) >= share * a.size] = 0.0
    np.testing.assert_allclose(product(spec, target, a, b, 7.0), a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("strange", [np.inf, -np.inf, np.nan])
def test_zero_times_what_is_not_finite(target, strange, transpose_b):
    """NaN reaches every row whose number there is zero, infinity the others, as in NumPy; other columns stay finite."""
    spec = Gemm.of(24, 90, 70, transpose_b=transpose_b, zeros=True)
    a, b = sparse_operands(spec, 0.5)
    b[[3, 69], [40, 89]] = strange
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    assert np.isnan(wanted).any() and np.isfinite(wanted).any()
    np.testing.assert_allclose(product(spec, target, a, b, 0.0), wanted, rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_on_the_left(target):
    spec = Gemm.of(24, 40, 70, zeros=True)
    a, b = sparse_operands(spec, 0.3)
    a[[2, 5], [7, 69]] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    np.testing.assert_allclose(product(spec, target, a, b, 0.0), wanted, rtol=1e-5, atol=1e-5)


def test_the_same_bits_as_with_all_terms(target):
    """Where a multiplication and addition is rounded once, a term of zero changes nothing."""
    spec = Gemm.of(30, 50, 60)
    a, b = sparse_operands(spec, 0.5)
    out = np.zeros((30, 50), "float32")
    compiled(spec, target)(a, b, out, np.empty(workspace_size(spec, target), "float32"))
    found = product(dataclasses.replace(spec, zeros=True), target, a, b, 0.0)
    if target.fma:
        np.testing.assert_array_equal(found, out)
    np.testing.assert_allclose(found, out, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize("k", [8, 300])
def test_an_epilogue_sees_each_finished_value_once(target, k, share):
    m, n = 20, 45
    spec = Gemm.of(m, n, k, zeros=True)

    def epilogue(b, tile, given, counts):
        def finish(value, row, column, inside):
            place = row * n + column
            counts.store(counts.load(place, mask=inside) + 1.0, place, inside)
            return b.maximum(value + given.load(place, mask=inside), 0.0)

        return tile.map(finish)

    a, b = sparse_operands(spec, share)
    given = np.random.default_rng(1).standard_normal((m, n)).astype("float32")
    (c, c_intact), (counts, intact) = guarded((m, n), "float32"), guarded((m, n), "float32")
    run = compiled(spec, target, epilogue, ["float32"] * 2, [Touch(0, n, False)])
    run(a, b, c, np.empty(workspace_size(spec, target), "float32"), given, counts)
    assert c_intact() and intact() and (counts == 1.0).all()
    np.testing.assert_allclose(c, np.maximum(a @ b + given, 0), rtol=1e-4, atol=1e-4)


def test_only_where_it_pays(monkeypatch):
    monkeypatch.undo()
    target = host_target()
    wide = Gemm.of(256, 784, 1024, transpose_a=True, zeros=True)
    assert plan(wide, target).sparse is not None
    assert plan(dataclasses.replace(wide, zeros=False), target).sparse is None
    for shape in [(10, 784, 1024), (256, 100, 1024), (256, 784, 12)]:
        assert plan(Gemm.of(*shape, transpose_a=True, zeros=True), target).sparse is None, shape


def test_its_code_is_bounded(target):
    """However many strips and runs there are, they share their subroutines."""

    def functions(*shape):
        module = ir.Module()
        emit_gemm(module, "kernel", Gemm.of(*shape, zeros=True), target)
        return len(module.functions)

    assert functions(64, 6000, 9000) <= functions(64, 600, 900) + 4 < 40
