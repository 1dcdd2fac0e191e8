"""NaN, infinities, signed zeros, denormals and huge numbers: compiled, they flow as they do eagerly."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from operation_cases import Case, samples
from operation_sizes import changed, results, works
from test_operations import READS_VALUES, SOMETIMES_READS_VALUES
from test_operations_watched import COMPILED, ELEMENTWISE

import backlit as bl
from backlit.compile.trace.capture import Capture, capture
from backlit.compile.trace.sources import Fixed
from backlit.ops.definition import REGISTRY, Sample
from turns import turn

NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0)


def specials(dtype: Any, huge: bool = True) -> np.ndarray:
    """The special numbers of a dtype, as float64; without ``huge``, only such as can be squared and added up. Whether
    sums of larger ones overflow on the way depends on their order."""
    about = np.finfo(dtype)
    large = float(about.max) ** 0.45
    extremes = (*((about.max, about.max / 4) if huge else (large,)), about.tiny, about.smallest_subnormal, about.eps)
    return np.array([*NUMBERS, *[float(x) for x in extremes], *[-float(x) for x in extremes]])


def crossed(sample: Sample, dtype: Any) -> Sample:
    """An elementwise sample with every combination of special numbers in its floating arrays."""
    leaves: list[np.ndarray] = []
    changed(sample, lambda a: leaves.append(a) if a.dtype == np.float64 else None)
    numbers = specials(dtype) if len(leaves) < 3 else specials(dtype)[:12]
    combined = [np.array(column) for column in zip(*itertools.product(numbers, repeat=len(leaves)), strict=True)]
    queue = iter(combined)
    size = len(combined[0]) if combined else 1
    return changed(sample, lambda a: next(queue) if a.dtype == np.float64 else np.resize(a, size))


def planted(sample: Sample, dtype: Any, seed: int) -> Sample:
    """A sample with a few special numbers in its floating arrays."""
    rng = np.random.default_rng(seed)
    numbers = specials(dtype, huge=False)

    def plant(a: np.ndarray) -> np.ndarray:
        if a.dtype != np.float64 or not a.size:
            return a
        a = a.copy()
        flat = a.reshape(-1)
        places = rng.choice(a.size, min(a.size, 1 + int(rng.integers(3))), replace=False)
        flat[places] = rng.choice(numbers, len(places))
        return flat.reshape(a.shape)

    return changed(sample, plant)


def fitting(name: str, sample: Sample, dtype: Any) -> Sample:
    """All combinations, or a few special numbers where the operation wants certain shapes."""
    every = crossed(sample, dtype)
    return every if works(REGISTRY[name], every) else planted(sample, dtype, 0)


def check(name: str, case: Case, dtype: Any, what: str) -> None:
    compiled = bl.compile(case, fallback=name in SOMETIMES_READS_VALUES)
    results(compiled, case)
    wanted, found = (results(call, case) for call in (case, compiled))
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if a.dtype.kind == "f":
            assert_same_kind(a, b, dtype, f"{what}: result {i} of {len(wanted)} for\n{case.sample}\n", case)


PADDED = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""Kernels that pad an upstream gradient with zeros multiply these with weights: where a weight is infinite or NaN they
may give NaN where eager mode, which leaves the margin out, gives a number. Never the other way round."""


def no_worse(a: np.ndarray, b: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Where compiled numbers ``b`` lie about as near to the exact ones as eager numbers ``a``: differences of huge
    numbers leave nothing but rounding errors, other ones in another order."""
    return np.abs(b - exact) <= 16 * np.abs(a - exact)


def assert_same_kind(
    a: np.ndarray, b: np.ndarray, dtype: Any, what: str, case: Case, exact: np.ndarray | None = None
) -> None:
    """NaN and infinities at the same places, and the same finite numbers to rounding; ``exact`` are the numbers in
    double precision, where they are known."""
    rtol = 2e-4 if dtype == np.float32 else 1e-9
    tiny = 1e3 * np.finfo(dtype).tiny
    with np.errstate(all="ignore"):
        near = np.isclose(b, a, rtol=rtol, atol=tiny, equal_nan=True)
        if case.operation.name in PADDED and not all(np.isfinite(t._data).all() for t in case.tensors):
            near |= np.isnan(b)
        if exact is not None:
            near |= no_worse(a, b, exact)
    if near.all():
        return
    inputs = [t._data[~near] if t.shape == near.shape else t._data for t in case.tensors]
    raise AssertionError(f"{what}{a[~near]} eagerly, {b[~near]} compiled, for {inputs}")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operations(name: str) -> None:
    sample = fitting(name, samples(name)[0], np.float32)
    check(name, Case(REGISTRY[name], sample, np.float32), np.float32, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", turn(ELEMENTWISE, 7))
def test_elementwise_operations_at_all_samples(name: str) -> None:
    for dtype in (np.float32, np.float64):
        for sample in samples(name):
            check(name, Case(REGISTRY[name], fitting(name, sample, dtype), dtype), dtype, name)


def baked_in(seen: Capture) -> list[Any]:
    """Every array and number that a program holds besides its inputs."""
    found = [source.array.tolist() for source in seen.sources if isinstance(source, Fixed)]
    for instruction in seen.program.body:
        settings = {k: v for k, v in instruction.params.items() if k not in ("call", "leaf", "meaning")}
        call = instruction.params.get("call")
        found.append((instruction.opcode, repr(settings), repr(getattr(call, "params", None))))
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_no_value_is_baked_into_a_program(name: str) -> None:
    """Traces at different values hold the same constants."""
    sample = samples(name)[0]
    case = Case(REGISTRY[name], sample, np.float64)
    traces = []
    turned = changed(sample, lambda a: np.asarray(a[::-1] if a.ndim else a))
    small = changed(sample, lambda a: np.asarray(a * 1e-9) if a.dtype == np.float64 else a)
    for other in (sample, planted(sample, np.float64, 1), turned, small):
        values: list[np.ndarray] = []
        changed(other, values.append)
        for tensor, array in zip(case.tensors, values, strict=True):
            tensor._data[...] = array
        bl.manual_seed(0)
        try:
            with np.errstate(all="ignore"):
                _, seen = capture(case, tuple(case.tensors), {}, False, False)
        except bl.errors.BacklitError:  # values outside an operation's domain may be refused
            continue
        if isinstance(seen, Capture):
            traces.append(baked_in(seen))
    for trace in traces[1:]:
        assert repr(trace) == repr(traces[0])


OTHERS = [n for n in COMPILED if n not in ELEMENTWISE and n not in READS_VALUES]


def doubled(case: Case) -> list[np.ndarray]:
    """The results of a case whose numbers, and upstream gradients, are the same in float64."""
    twin = Case(case.operation, case.sample, np.float64)
    for mine, theirs in zip(twin.tensors, case.tensors, strict=True):
        mine._data[...] = theirs._data
    for mine, theirs in zip(twin.weights, case.weights, strict=True):
        mine._data[...] = theirs._data
    return results(twin, twin)


def plant_and_check(name: str, dtype: Any, rounds: int, chosen: list[Sample]) -> None:
    for i, sample in enumerate(chosen):
        case = Case(REGISTRY[name], sample, dtype)
        compiled = bl.compile(case, fallback=name in SOMETIMES_READS_VALUES)
        results(compiled, case)
        for k in range(rounds):
            seed = zlib.crc32(f"{name} {i} {k}".encode())
            values: list[np.ndarray] = []
            changed(planted(sample, dtype, seed), values.append)
            for tensor, array in zip(case.tensors, values, strict=True):
                tensor._data[...] = array
            try:
                wanted = results(case, case)
            except bl.errors.BacklitError:  # values outside an operation's domain may be refused
                continue
            found, exact = results(compiled, case), doubled(case)
            for j, (a, b) in enumerate(zip(wanted, found, strict=True)):
                if a.dtype.kind == "f":
                    assert_same_kind(a, b, dtype, f"{name}: result {j} for {sample}\n", case, exact[j])


@pytest.mark.parametrize("name", OTHERS)
def test_other_operations(name: str) -> None:
    with np.errstate(all="ignore"):
        plant_and_check(name, np.float32, 4, samples(name)[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", turn(OTHERS, 7))
def test_other_operations_at_all_samples(name: str) -> None:
    with np.errstate(all="ignore"):
        plant_and_check(name, np.float32, 2, samples(name))


def test_keys_at_minus_infinity_are_left_out_as_eagerly_and_without_a_warning() -> None:
    """Neither where the function is traced nor in native code; a query that sees no key at all gives zero."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.random((1, 3, 2)).astype(np.float32) for _ in range(3))
    k[0, 0, 0] = -np.inf
    leaves = [bl.tensor(x, requires_grad=True) for x in (q, k, v)]

    def attended(*x: Any) -> Any:
        return bl.nn.functional.scaled_dot_product_attention(*x, is_causal=True)

    wanted = attended(*leaves)
    gradients = bl.autograd.grad(wanted.sum(), leaves)
    assert wanted[0, 0].tolist() == [0.0, 0.0]
    compiled = bl.compile(attended)
    for _ in range(3):
        found = compiled(*leaves)
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
        for a, b in zip(bl.autograd.grad(found.sum(), leaves), gradients, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
