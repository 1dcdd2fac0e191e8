"""Loops with long chains of instructions compute two registers full of elements next to each other."""

import numpy as np
import pytest

import backlit as bl

pytest.importorskip("llvmlite")

from llvmlite import ir

from backlit.compile.codegen.target import host_target
from backlit.compile.loops.emit import emit_kernel
from backlit.compile.loops.kernel import Access, Computed, Kernel, Load, Operation, Store

LANES = host_target().lanes("float32")


def module_of(opcode, size):
    """The text of a loop that applies one operation to ``size`` float32 elements."""
    applied = Operation(opcode, (Load(Access(0, (1,))),), "float32")
    kernel = Kernel((size,), ("float32", "float32"), (applied,), (Store(Access(1, (1,)), Computed(0)),), ())
    module = ir.Module()
    emit_kernel(module, "loop", kernel)
    return str(module)


@pytest.mark.parametrize(("opcode", "size", "wide"), [("erf", 64, True), ("neg", 64, False), ("erf", LANES, False)])
def test_only_long_chains_over_enough_elements_are_widened(opcode, size, wide):
    assert (f"<{2 * LANES} x float>" in module_of(opcode, size)) == wide


@bl.compile
def everything(x):
    e = bl.exp(x)
    return e, e.sum(dim=1), e.sum(dim=0), e.amax(dim=1), bl.erf(x * x).sum(), (bl.tanh(x) > 0.5)


@pytest.mark.parametrize("columns", [1, 5, LANES, 2 * LANES - 1, 2 * LANES, 3 * LANES, 4 * LANES + 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_and_results_are_those_of_eager_mode(columns, dtype):
    x = bl.tensor(np.random.default_rng(columns).normal(size=(5, columns)).astype(dtype))
    for found, wanted in zip(everything(x), everything.__wrapped__(x), strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=2e-6 if dtype == "float32" else 1e-14)
