"""Every operation of the registry at every one of its samples: compiled as it is eagerly, forward and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_cases import Case, samples

import backlit as bl
from backlit.compile import TraceError
from backlit.ops.definition import REGISTRY

NAMES = sorted(REGISTRY)

READS_VALUES = {
    "bincount": "the shape of the result depends on values",
    "histc": "the range is that of the values",
    "argwhere": "the shape of the result depends on values",
    "masked_select": "the shape of the result depends on values",
    "nonzero": "the shape of the result depends on values",
    "unique": "the shape of the result depends on values",
}
"""Operations that cannot be compiled, and why; they must say so."""

SOMETIMES_READS_VALUES = {
    "getitem": "a mask",
    "one_hot": "without num_classes",
    "take_along_dim": "negative positions",
    "max_pool1d": "return_indices=True",
    "max_pool2d": "return_indices=True",
    "max_pool3d": "return_indices=True",
    "repeat_interleave": "a tensor of counts",
}
"""Operations of which some samples cannot be compiled."""


def check(name: str, dtype: Any, rtol: float, atol: float) -> None:
    for sample in samples(name):
        case = Case(REGISTRY[name], sample, dtype)
        compiled = bl.compile(case, fallback=name in SOMETIMES_READS_VALUES)
        for _ in range(3):
            wanted, found = (results(call, case) for call in (case, compiled))
            for a, b in zip(wanted, found, strict=True):
                assert a.dtype == b.dtype and a.shape == b.shape, f"{name}{sample!r}"
                np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=f"{name}{sample!r}")
            case.change()


def results(call: Any, case: Case) -> list[np.ndarray]:
    bl.manual_seed(0)
    with np.errstate(all="ignore"):
        return [t.detach().numpy().copy() for part in call(*case.tensors) for t in part]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in READS_VALUES])
def test_compiled_equals_eager(name: str) -> None:
    check(name, np.float64, 1e-10, 1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in READS_VALUES])
def test_compiled_equals_eager_in_float32(name: str) -> None:
    check(name, np.float32, 2e-4, 2e-5)


@pytest.mark.parametrize("name", READS_VALUES)
def test_what_cannot_be_compiled_says_so(name: str) -> None:
    for sample in samples(name):
        case = Case(REGISTRY[name], sample, np.float64)
        with pytest.raises(TraceError, match=r"depends on values|cannot be compiled"):
            bl.compile(case)(*case.tensors)


@pytest.mark.parametrize("kind", ["sum", "amax", "amin"])
def test_reductions_over_rows_that_do_not_lie_side_by_side(kind: str) -> None:
    """What earlier rows gave was counted once for each vector of an unrolled round."""
    x = bl.tensor(np.random.default_rng(0).normal(size=(6, 3, 60)).astype(np.float32))

    def reduced(x: Any) -> Any:
        return getattr(x[:, 1] * 1.0, kind)()

    compiled = bl.compile(reduced)
    for _ in range(2):
        np.testing.assert_allclose(float(compiled(x)), float(reduced(x)), rtol=1e-5)


def test_reductions_of_one_loop_over_different_dimensions() -> None:
    """Which began further out took the other's accumulator."""
    x = bl.tensor(np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32))

    def reduced(x: Any) -> Any:
        y = x @ x
        return y.softmax(-1) @ x + y.mean()

    compiled = bl.compile(reduced)
    for _ in range(2):
        np.testing.assert_allclose(compiled(x).numpy(), reduced(x).numpy(), rtol=1e-4, atol=1e-5)
