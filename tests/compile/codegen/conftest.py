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


def pytest_generate_tests(metafunc):
    """``target``: this machine, and the same kept to narrower vectors, down to the module's ``NARROWEST`` bytes."""
    if "target" in metafunc.fixturenames:
        narrowest = getattr(metafunc.module, "NARROWEST", 16)
        widths = [w for w in WIDTHS if w >= narrowest] or WIDTHS[-1:]
        metafunc.parametrize("target", [host_target().narrowed(w) for w in widths], ids=[f"{w}-byte" for w in widths])


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
