"""Matrix products against float64, over shapes that stress every edge of tiles, panels, blocks and runs."""

import ctypes
import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.gemm import Gemm, Touch, emit_gemm, emit_pack, packed_size, workspace_size
from backlit.compile.codegen.gemm_plan import TOGETHER, as_row, dot_shape, plan
from backlit.compile.codegen.target import host_target

CANARY = 12345.0


def compiled(spec, target, epilogue=None, extras=(), touched=(), emit=emit_gemm, pointers=4):
    module = ir.Module()
    if emit is emit_pack:
        emit_pack(module, "kernel", spec, target)
    else:
        emit_gemm(module, "kernel", spec, target, epilogue, extras, touched)
    code = load(module, ["kernel"], target)
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (pointers + len(extras)))(code["kernel"])

    def run(*arrays):
        native(*[a.ctypes.data for a in arrays])

    run.code = code
    return run


def guarded(shape, dtype, fill=0.0):
    """An array between canaries, and a check that they live."""
    size = int(np.prod(shape))
    space = np.full(size + 128, CANARY, dtype)
    inner = space[64 : 64 + size].reshape(shape)
    inner[...] = fill

    def intact():
        return (space[:64] == CANARY).all() and (space[64 + size :] == CANARY).all()

    return inner, intact


def operands(spec, rng):
    """A and B as strided views of arrays of exactly their size."""

    def matrix(rows, columns, strides):
        flat = rng.standard_normal((rows - 1) * strides[0] + (columns - 1) * strides[1] + 1).astype(spec.dtype)
        size = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (strides[0] * size, strides[1] * size))

    return matrix(spec.m, spec.k, spec.a_strides), matrix(spec.k, spec.n, spec.b_strides)


def check(spec, target, packed=False):
    rng = np.random.default_rng(0)
    a, b = operands(spec, rng)
    c, c_intact = guarded((spec.m, spec.c_stride), spec.dtype, fill=2.0)
    workspace, w_intact = guarded((workspace_size(spec, target),), spec.dtype)
    given = b
    if packed:
        given, p_intact = guarded((packed_size(spec, target),), spec.dtype)
        compiled(spec, target, emit=emit_pack, pointers=2)(b, given)
        assert p_intact()
    compiled(spec, target)(a, given, c, workspace)
    assert c_intact() and w_intact()
    wanted = a.astype("float64") @ b.astype("float64") + (2.0 if spec.accumulate else 0.0)
    bound = (np.abs(a).astype("float64") @ np.abs(b).astype("float64") + 2) * spec.k * np.finfo(spec.dtype).eps
    assert (np.abs(c[:, : spec.n] - wanted) <= bound).all()
    assert (c[:, spec.n :] == 2.0).all()


SHAPES = [
    (1, 1, 1), (1, 40, 3), (3, 1, 40), (2, 3, 1), (14, 32, 16), (15, 33, 17), (29, 16, 7), (7, 48, 9), (31, 47, 5),
    (64, 10, 32), (13, 100, 130), (40, 80, 513), (9, 17, 1100), (120, 70, 12),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "transposes"), list(zip(SHAPES, itertools.cycle(["nt", "tn", "nn", "tt", "nt"]))), ids=str
)
def test_shapes_and_transposes(target, shape, transposes):
    check(Gemm.of(*shape, transpose_a=transposes[0] == "t", transpose_b=transposes[1] == "t"), target)


@pytest.mark.parametrize("shape", [(15, 33, 17), (40, 20, 520), (64, 10, 32)], ids=str)
@pytest.mark.parametrize("transpose_b", [False, True])
def test_float64_and_accumulation(target, shape, transpose_b):
    check(Gemm.of(*shape, transpose_b=transpose_b, dtype="float64", accumulate=True), target)
    check(Gemm.of(*shape, transpose_b=transpose_b, accumulate=True), target)


@pytest.mark.parametrize(("m", "n"), [(1, 37), (5, 37), (21, 10)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_as_scalar_products(target, m, n, dtype):
    spec = Gemm.of(m, n, 301, transpose_b=True, dtype=dtype)
    assert plan(spec, target).dots and workspace_size(spec, target) == 0
    check(spec, target)
    check(dataclasses.replace(spec, accumulate=True, c_stride=40), target)


def test_strided_operands_and_rows_of_c_apart(target):
    check(Gemm(20, 35, 11, (50, 3), (40, 1), 37), target)
    check(Gemm(20, 35, 11, (1, 25), (1, 13), 64), target)


def test_rows_that_alias_are_copied(target):
    spec = Gemm(33, 200, 1024, (1024, 1), (200, 1), 200)
    assert plan(spec, target).copy_a
    check(spec, target)


@pytest.mark.parametrize("n", [70, 80])
@pytest.mark.parametrize(("m", "k"), [(5, 30), (33, 400), (58, 1100), (200, 7), (410, 90)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_transposed_left_side_is_packed(target, m, n, k, dtype):
    spec = Gemm.of(m, n, k, transpose_a=True, dtype=dtype)
    cut = plan(spec, target)
    assert cut.pack_a and cut.pack_a_in_turn == (n == 80), "all of it before columns that are gone through in turn"
    check(spec, target)
    check(Gemm(m, n, k, (1, m + 3), (n, 1), n + 10, dtype, accumulate=True), target)
    if cut.pack_a_in_turn:
        assert workspace_size(spec, target) <= cut.block(spec) + TOGETHER * cut.tile_rows * cut.kept_stride


@pytest.mark.parametrize(("rows", "columns"), [(20, 10), (20, 12), (2, 10), (20, 3), (1, 7)])
def test_tiles_of_scalar_products_waste_no_steps(target, rows, columns):
    spec = Gemm.of(rows, columns, 256, transpose_b=True)
    most, together = dot_shape(spec, target)
    assert most <= rows and most * together + most + 1 <= target.registers
    if target.registers == 16 and rows >= 2 and columns == 10:
        assert (most, together) == (2, 5), "neither a thin last group of columns nor sums that wait for each other"
    far = dataclasses.replace(spec, k=4096, a_strides=(4096, 1), b_strides=(1, 4096))
    assert dot_shape(far, target)[0] == min(rows, target.registers // 4), "a large B is read by many rows together"


@pytest.mark.parametrize(("m", "n", "k"), [(17, 75, 70), (260, 101, 90), (110, 64, 530), (9, 256, 700)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_the_first_row_of_tiles_packs_the_right_side(target, m, n, k, dtype, transpose_a):
    spec = Gemm.of(m, n, k, transpose_a=transpose_a, dtype=dtype)
    check(spec, target)
    check(dataclasses.replace(spec, accumulate=True, b_strides=(n + 5, 1), c_stride=n + 1), target)
    if target.registers == 16 and m == 260:
        assert plan(spec, target).pack_early


@pytest.mark.parametrize(("m", "n"), [(16, 200), (33, 301), (50, 1024)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_and_a_large_matrix_as_the_transpose(target, m, n, dtype):
    spec = Gemm.of(m, n, 1024 if n > 1000 else 530, transpose_b=True, dtype=dtype)
    cut = plan(spec, target)
    assert cut.turned and not cut.pack_b, "a share of its rows costs no packing of the large matrix"
    check(spec, target)
    check(dataclasses.replace(spec, accumulate=True, c_stride=n + 3), target)


@pytest.mark.parametrize(("m", "n", "k"), [(16, 2, 100), (37, 3, 64), (200, 1, 700), (256, 10, 300)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_columns_of_a_transposed_left_side_as_the_transpose(target, m, n, k, dtype):
    """The weight gradient of a layer with few inputs, which would fill a few lanes of its tiles."""
    spec = Gemm.of(m, n, k, transpose_a=True, dtype=dtype)
    fills_its_lanes = n % target.lanes(dtype) == 0
    assert fills_its_lanes or plan(spec, target).turned is not None
    check(spec, target)
    check(dataclasses.replace(spec, accumulate=True, c_stride=n + 3), target)


def test_equal_sides_are_not_turned(target):
    assert plan(Gemm.of(64, 64, 64, transpose_a=True), target).turned is None
    assert plan(Gemm.of(100, 16, 2), target).turned is None


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("m", "k"), [(2, 5), (100, 16), (33, 600), (70_000, 3)])
def test_one_column_as_one_row(target, m, k, transpose_a, transpose_b):
    spec = Gemm.of(m, 1, k, transpose_a=transpose_a, transpose_b=transpose_b)
    row = as_row(spec, target)
    if row is None:
        assert not transpose_a and m == 70_000, "sums of so many would not stay in a first-level cache"
        return
    (a, b), c = operands(spec, np.random.default_rng(0)), np.zeros(m, "float32")
    compiled(row, target)(b, a, c, np.zeros(workspace_size(row, target), "float32"))
    assert np.allclose(c, (a.astype("float64") @ b)[:, 0], rtol=1e-4, atol=1e-4)
    assert as_row(row, target) is None


@pytest.mark.parametrize("n", [40, 700])
def test_rows_from_far_are_asked_for_beforehand(target, n):
    spec = Gemm.of(301, n, 299)
    assert plan(spec, target).prefetch_a
    check(spec, target)


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("shape", [(3, 70, 37), (50, 33, 600)], ids=str)
def test_packed_beforehand(target, shape, transpose_b):
    check(Gemm.of(*shape, transpose_b=transpose_b, b_packed=True), target, packed=True)


@pytest.mark.parametrize(
    ("m", "k", "transpose_b"), [(30, 20, False), (30, 1100, False), (3, 100, True), (30, 900, True)]
)
def test_epilogue_sees_each_finished_value_once(target, m, k, transpose_b):
    """Bias and ReLU into C, the mask of the ReLU as a second output, column sums as a third."""
    n = 45
    spec = Gemm.of(m, n, k, transpose_b=transpose_b)
    cut = plan(spec, target)
    assert (cut.dots or cut.turned is not None) == transpose_b

    def epilogue(b, tile, bias, mask, sums):
        def finish(value, row, column, inside):
            total = value + bias.load(column, mask=inside)
            mask.store(b.where(total > 0, 1.0, total * 0.0), row * n + column, inside)
            before = sums.load(column, mask=inside)
            sums.store(before + total, column, inside)
            return b.maximum(total, 0.0)

        return tile.map(finish)

    run = compiled(spec, target, epilogue, ["float32"] * 3)
    rng = np.random.default_rng(1)
    a, b = operands(spec, rng)
    bias = rng.standard_normal(n).astype("float32")
    (c, c_intact), (mask, m_intact), (sums, s_intact) = [guarded(s, "float32") for s in ((m, n), (m, n), (n,))]
    run(a, b, c, np.empty(workspace_size(spec, target), "float32"), bias, mask, sums)
    wanted = a.astype("float64") @ b + bias
    assert c_intact() and m_intact() and s_intact()
    np.testing.assert_allclose(c, np.maximum(wanted, 0), atol=1e-3)
    np.testing.assert_array_equal(mask, c > 0)
    np.testing.assert_allclose(sums, wanted.sum(0), atol=1e-2)


def prefetches(spec, target, *epilogue):
    """How often a product's functions ask for memory, to read it and to write it, each way through a loop's body
    counted once."""
    module = ir.Module()
    emit_gemm(module, "kernel", spec, target, *epilogue)
    found = re.findall(r'call void @"llvm.prefetch.*, i32 ([01]), i32 [0-3], i32 1\)', str(module))
    return np.array([found.count("0"), found.count("1")])


def lines_of_tiles(spec, target, itemsize=4):
    """The cache lines that each height and width of tile lies in."""
    cut = plan(spec, target)
    tiles = {(rows, panel.columns) for _, _, rows in cut.row_groups(spec.m) for panel in cut.panels}
    return sum(rows * math.ceil(columns * itemsize / 64) for rows, columns in tiles)


@pytest.mark.parametrize(("k", "common"), [(516, 4), (518, 2), (519, 1), (1030, 2), (127, 127), (126, 126)])
def test_runs_of_any_length(target, k, common):
    """Steps along k are written out four, two or one at a time, by what all runs are a multiple of."""
    spec = Gemm.of(31, 40, k)
    assert math.gcd(*plan(spec, target).depths) == common
    check(spec, target)
    check(Gemm.of(31, 40, k, transpose_a=True, transpose_b=True), target)


@pytest.mark.parametrize("k", [20, 1100])
def test_what_the_epilogue_touches_is_asked_for_beforehand(target, k):
    """Two arrays that lie as the tiles do, one of them of wider elements; what is read otherwise is left alone."""
    spec, kinds = Gemm.of(6, 16, k), ["float32", "float64", "float32"]
    touched = [Touch(0, 16, False), Touch(1, 40, True)]
    lines = [lines_of_tiles(spec, target), lines_of_tiles(spec, target, 8)]

    def epilogue(b, tile, x, wide, scale):
        def finish(value, row, column, inside):
            return value * scale.splat() + x.load(row * 16 + column, mask=inside)

        return tile.map(finish)

    more = prefetches(spec, target, epilogue, kinds, touched) - prefetches(spec, target, epilogue, kinds)
    assert [*more] == lines
    rng = np.random.default_rng(0)
    (a, b), c, x = operands(spec, rng), np.zeros((6, 16), "float32"), rng.standard_normal((6, 16)).astype("float32")
    run = compiled(spec, target, epilogue, kinds, touched)
    run(a, b, c, np.empty(workspace_size(spec, target), "float32"), x, np.zeros((6, 40)), np.array([2.0], "float32"))
    np.testing.assert_allclose(c, 2 * (a.astype("float64") @ b) + x, atol=1e-3)


@pytest.mark.parametrize(("k", "written"), [(20, False), (1100, True)])
def test_the_result_is_asked_for_beforehand(target, k, written):
    """With an epilogue only where sums wait in it between two runs."""
    spec = Gemm.of(30, 16, k)
    lines = lines_of_tiles(spec, target)
    assert [*prefetches(spec, target)] == [0, lines] and (len(plan(spec, target).depths) > 1) == written

    def elsewhere(b, tile, out):
        tile.map(lambda value, row, column, inside: out.store(value, row * 16 + column, inside))

    assert [*prefetches(spec, target, elsewhere, ["float32"])] == [0, lines * written]


def test_packing_asks_for_rows_a_page_apart(target):
    apart, together = [Gemm(301, 64, 80, (80, 1), (stride, 1), 64) for stride in (1024, 65)]
    cut = plan(apart, target)
    assert cut.pack_b and not cut.pack_early
    read, _ = prefetches(apart, target)
    assert read == 4 * cut.width // 16, "a line each of all panels that are packed together"
    check(apart, target)
    check(together, target)


def test_epilogue_may_store_elsewhere(target):
    spec = Gemm.of(9, 21, 6)

    def epilogue(b, tile, out):
        tile.map(lambda value, row, column, inside: out.store(value * 2.0, row * 21 + column, inside))

    a, b = operands(spec, np.random.default_rng(0))
    c, out = np.full((9, 21), 7, "float32"), np.empty((9, 21), "float32")
    run = compiled(spec, target, epilogue, ["float32"])
    run(a, b, c, np.empty(workspace_size(spec, target), "float32"), out)
    assert (c == 7).all()
    np.testing.assert_allclose(out, 2 * (a @ b), rtol=1e-5, atol=1e-5)


def test_nan_and_infinity_stay_in_their_rows_and_columns(target):
    spec = Gemm.of(17, 40, 8)
    a, b = operands(spec, np.random.default_rng(0))
    a[3, 2], b[5, 7] = np.nan, np.inf
    c = np.empty((17, 40), "float32")
    compiled(spec, target)(a, b, c, np.empty(workspace_size(spec, target), "float32"))
    np.testing.assert_array_equal(np.isnan(c), np.isnan(a @ b))
    np.testing.assert_array_equal(np.isinf(c), np.isinf(a @ b))


def test_same_bits_run_after_run():
    spec = Gemm.of(60, 70, 600, transpose_b=True)
    a, b = operands(spec, np.random.default_rng(0))
    run, workspace = compiled(spec, host_target()), np.empty(workspace_size(spec), "float32")
    first, second = np.empty((60, 70), "float32"), np.empty((60, 70), "float32")
    run(a, b, first, workspace)
    run(a, b, second, workspace)
    assert first.tobytes() == second.tobytes()


def test_what_cannot_be_multiplied_is_refused():
    with pytest.raises(ValueError, match="0×3×4 is empty"):
        Gemm.of(0, 3, 4)
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        Gemm(2, 3, 4, (4, 1), (5, 2), 3)
    with pytest.raises(ValueError, match="2 apart"):
        Gemm(2, 3, 4, (4, 1), (3, 1), 2)


@pytest.mark.parametrize("m", [1, 14, 15, 32, 100, 768, 1000])
def test_row_groups_cover_the_rows_evenly(target, m):
    cut = plan(Gemm.of(m, 64, 64), target)
    covered = [i for start, stop, rows in cut.row_groups(m) for i in range(start, stop, rows)]
    heights = [rows for start, stop, rows in cut.row_groups(m) for _ in range(start, stop, rows)]
    assert covered == np.cumsum([0, *heights[:-1]]).tolist() and sum(heights) == m
    assert max(heights) <= cut.tile_rows and len(set(heights)) <= 2
