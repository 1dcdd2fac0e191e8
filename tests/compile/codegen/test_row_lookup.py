"""Rows by number and their sums back, with numbers that lie outside."""

import ctypes

import numpy as np
import pytest
from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.row_lookup import RowLookup, emit_add, emit_put, emit_take


@pytest.mark.parametrize("width", [1, 16, 37, 128])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_rows_there_and_back(target, width, dtype):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 7, 20)
    numbers[[3, 11]] = -1, 7
    spec, module = RowLookup(20, 7, width, skip=2, dtype=dtype), ir.Module()
    emit_take(module, "take", spec, target)
    emit_add(module, "add", spec, target)
    emit_put(module, "put", spec, target)
    code = load(module, ["take", "add", "put"], target)

    def call(function, *arrays):
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(code[function])(*[a.ctypes.data for a in arrays])

    table, g = (rng.normal(0, 9, (rows, width)).astype(dtype) for rows in (7, 20))
    out, outside = np.full((21, width), 5, dtype), np.array([-1])
    call("take", table, numbers, out, outside)
    inside = (numbers >= 0) & (numbers < 7)
    assert outside[0] == 2
    np.testing.assert_array_equal(out[:20], np.where(inside[:, None], table[numbers % 7], 0))
    assert (out[20] == 5).all()

    into, wanted = np.full((8, width), 5, dtype), np.zeros((7, width), dtype)
    call("add", g, numbers, into)
    kept = inside & (numbers != 2)
    np.add.at(wanted, numbers[kept], g[kept])
    np.testing.assert_array_equal(into[:7], wanted)
    assert (into[7] == 5).all()

    call("put", table, g, numbers, into)
    wanted = table.copy()
    wanted[numbers[kept]] = g[kept]
    np.testing.assert_array_equal(into[:7], wanted)
    assert (into[7] == 5).all()
