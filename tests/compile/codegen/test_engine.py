"""Objects are loaded from bytes, damaged ones and missing names are refused, targets narrow."""

import ctypes
import gc
import os
import subprocess
import sys
import weakref

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from backlit.compile.codegen.engine import NativeCode, assembly, compile_object
from backlit.compile.codegen.exponential import exp
from backlit.compile.codegen.gemm import Gemm, emit_gemm
from backlit.compile.codegen.target import Target, host_target
from backlit.compile.codegen.vector import function

TEXT = "define i64 @twice(i64 %x) { %y = add i64 %x, %x ret i64 %y }"


def test_an_object_serves_again_from_its_bytes():
    object_code = compile_object(TEXT)
    for _ in range(2):
        code = NativeCode(bytes(object_code), ["twice"])
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code["twice"])(21) == 42


def test_the_same_ir_gives_the_same_bytes():
    assert compile_object(TEXT) == compile_object(TEXT)


@pytest.mark.parametrize("damage", [lambda o: b"", lambda o: b"not an object" * 50, lambda o: o[: len(o) // 2]])
def test_damaged_objects_are_refused(damage):
    with pytest.raises(RuntimeError):
        NativeCode(damage(compile_object(TEXT)), ["twice"])


def test_missing_names_are_refused():
    with pytest.raises(RuntimeError, match="thrice"):
        NativeCode(compile_object(TEXT), ["thrice"])


def test_malformed_ir_is_refused():
    with pytest.raises(RuntimeError, match="error"):
        compile_object("define i64 @f(i64 %x) { ret i64 %nothing }")


def test_kernels_compile_for_a_machine_that_is_not_this_one():
    """Vectors of 16 bytes, 32 registers, multiply-add: an ARM core, whose code is only looked at."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = Target("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+fp-armv8", 16, 32, True)
    module = ir.Module()
    emit_gemm(module, "product", Gemm.of(30, 45, 17, transpose_b=True), target)
    with function(module, "exps", ["float32"], target) as (b, x):
        b.sweep(10, lambda i, mask: x.store(exp(b, x.load(i, mask=mask)), i, mask))
    text = assembly(module, target)
    assert text.count("fmla") > 50


def test_assembly_shows_machine_code():
    assert "twice" in assembly(TEXT)


def test_narrowed_targets():
    target = host_target()
    assert target.narrowed(target.vector_bytes) is target
    assert target.narrowed(16).vector_bytes == 16
    assert target.narrowed(16).lanes("float64") == 2
    with pytest.raises(ValueError, match="bytes"):
        target.narrowed(8)


FULL_OF_HOLES = """
import ctypes, mmap
import numpy as np
import backlit as bl

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
no_reserve = 0x4000

def reserve(size):
    return libc.mmap(None, size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve, -1, 0)

x = bl.tensor(np.ones((64, 64), np.float32))
bl.compile(lambda x: x + 1)(x)
step = bl.compile(lambda x: (x @ x.tanh()).exp().sum(0))
wall, holes = reserve(3 << 30), []
for _ in range(20):  # room for one page, 3 GB of somebody else's, room for one page ...
    page = reserve(4096)
    while page > wall:
        page = reserve(4096)
    holes.append(page)
    wall = reserve(3 << 30)
for page in holes:
    libc.munmap(page, 4096)
assert [np.isfinite(step(x).numpy()).all() for _ in range(3)] == [True] * 3
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mmap as Linux has it")
def test_code_and_constants_lie_near_each_other_in_crowded_memory():
    done = subprocess.run([sys.executable, "-c", FULL_OF_HOLES], capture_output=True, text=True, env=_without_cache())
    assert done.returncode == 0, done.stderr


def _without_cache():
    return {**os.environ, "BACKLIT_CACHE": "0"}


def test_modules_go_when_nobody_needs_them():
    """What kernels of one module share refers to it."""
    module = ir.Module()
    for name in ("first", "second"):
        emit_gemm(module, name, Gemm.of(200, 96, 64, transpose_b=True))
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


def test_kernels_of_a_module_share_what_packs_and_tiles():
    module = ir.Module()
    emit_gemm(module, "first", Gemm.of(200, 96, 64, transpose_b=True))
    before = len(module.functions)
    emit_gemm(module, "second", Gemm.of(400, 96, 64, transpose_b=True))
    assert [f.name for f in module.functions[before:]] == ["second"]
    before = len(module.functions)
    emit_gemm(module, "third", Gemm.of(400, 96, 64, transpose_b=True, dtype="float64"))
    assert len(module.functions) > before + 1
