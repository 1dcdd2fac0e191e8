"""Kernels built in a line, run on arrays."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from llvmlite import ir

from backlit.compile.codegen.engine import load
from backlit.compile.codegen.target import host_target
from backlit.compile.codegen.vector import function

WIDTHS = [w for w in (16, 32, 64) if w <= host_target().vector_bytes]


@pytest.fixture(params=WIDTHS, ids=lambda w: f"{w}-byte")
def target(request):
    """This machine, and the same kept to narrower vectors."""
    return host_target().narrowed(request.param)


@pytest.fixture
def build(target):
    """``build(body, dtypes, dtype)`` compiles ``body(b, *pointers)`` and returns a function of arrays."""

    def build(body, dtypes, dtype="float32"):
        module = ir.Module()
        with function(module, "kernel", dtypes, target, dtype) as (b, *pointers):
            body(b, *pointers)
        code = load(module, ["kernel"], target)
        native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(dtypes))(code["kernel"])

        def run(*arrays):
            assert [a.dtype for a in arrays] == [np.dtype(d) for d in dtypes]
            assert all(a.flags.c_contiguous for a in arrays)
            native(*[a.ctypes.data for a in arrays])

        run.code = code  # keeps the machine code alive
        return run

    return build
