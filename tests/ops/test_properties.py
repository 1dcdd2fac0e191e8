"""Every operation in the registry, at every one of its samples, satisfies every property in ``op_properties``."""

from __future__ import annotations

import inspect
import zlib

import numpy as np
import op_properties as properties
import pytest

import backlit as bl
from backlit.ops.definition import NOTHING, REGISTRY, Op, Operation, Sample, apply
from backlit.ops.elementwise import Elementwise

NAMES = sorted(REGISTRY)
DIFFERENTIABLE = [name for name in NAMES if REGISTRY[name].differentiable]

CHANGES_DTYPE = {"cast": "changing the dtype is what it is for"}

NEEDS_LAYOUT = {"view": "refuses layouts that it could only copy", "view_as": "refuses layouts that it could only copy"}

FORGETS_NAN = {
    "where": "the branch that is not selected is not looked at",
    "prelu": "where x is positive, the weight is not looked at",
    "gated": "zero times anything is zero: that is what it is for",
    "nan_to_num": "replacing NaN is what it is for",
    "nansum": "leaving NaN out is what it is for",
}
"""Differentiable operations whose result may be free of NaN although an input is full of it, and why."""


def samples(name: str) -> list[Sample]:
    return list(REGISTRY[name].samples(np.random.default_rng(zlib.crc32(name.encode()))))


def with_leaves(name: str) -> list[Sample]:
    return [s for s in samples(name) if properties.Call(REGISTRY[name], s).leaves]


@pytest.mark.parametrize("name", NAMES)
def test_is_described_and_sampled(name: str) -> None:
    operation = REGISTRY[name]
    assert inspect.getdoc(operation.function), "no docstring"
    assert operation.formula, "no formula"
    assert operation.gate, "no gate"
    assert operation.domain, "no domain"
    assert samples(name), "no samples"
    if operation.differentiable:
        assert with_leaves(name), "differentiable, but no sample has a float64 array"


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if REGISTRY[n].definition is not None])
def test_has_a_rule_for_some_input(name: str) -> None:
    definition = REGISTRY[name].definition
    assert hasattr(definition, "vjp") or any(definition.rule("vjp", i) for i in definition.inputs)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_equals_central_differences(name: str) -> None:
    for sample in with_leaves(name):
        properties.check_gradient(REGISTRY[name], sample)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_and_reverse_mode_are_adjoint(name: str) -> None:
    for sample in with_leaves(name):
        properties.check_adjoint(REGISTRY[name], sample)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivative_equals_central_differences(name: str) -> None:
    for sample in with_leaves(name):
        properties.check_second_order(REGISTRY[name], sample)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_have_their_inputs_shapes(name: str) -> None:
    for sample in with_leaves(name):
        properties.check_shapes(REGISTRY[name], sample)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NEEDS_LAYOUT])
def test_memory_layout_does_not_matter(name: str) -> None:
    for sample in samples(name):
        properties.check_layouts(REGISTRY[name], sample)


def _dtypes(name: str) -> list[type]:
    definition = REGISTRY[name].definition
    elementwise = definition is not None and issubclass(definition, Elementwise)
    return [np.float32, np.float16] if elementwise else [np.float32]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in CHANGES_DTYPE])
def test_dtype_is_kept(name: str) -> None:
    for sample in with_leaves(name):
        if "dtype" not in sample.kwargs:
            for dtype in _dtypes(name):
                properties.check_dtype(REGISTRY[name], sample, dtype)


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if n not in FORGETS_NAN])
def test_nan_passes(name: str) -> None:
    definition = REGISTRY[name].definition
    for sample in with_leaves(name):
        everywhere = definition is not None and issubclass(definition, Elementwise)
        properties.check_nan(REGISTRY[name], sample, everywhere)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_modified(name: str) -> None:
    for sample in samples(name):
        properties.check_inputs_untouched(REGISTRY[name], sample)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_give_arrays(name: str) -> None:
    for sample in samples(name):
        properties.check_arrays(REGISTRY[name], sample)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_fresh_memory(name: str) -> None:
    for sample in with_leaves(name):
        properties.check_fresh(REGISTRY[name], sample)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in DIFFERENTIABLE])
def test_not_differentiable_means_not_recorded(name: str) -> None:
    for sample in samples(name):
        properties.check_forward(REGISTRY[name], sample)


def test_the_tables_of_exceptions_name_operations() -> None:
    assert {*CHANGES_DTYPE, *NEEDS_LAYOUT, *FORGETS_NAN} <= set(NAMES)


# -- the checks themselves: each must notice the mistakes it is there for -----------------------------------------


class WrongSign(Op):
    """x², falling."""

    def forward(x):
        return x * x

    def vjp_x(ctx, g, x):
        return -2.0 * x * g

    def jvp_x(ctx, t, x):
        return 2.0 * x * t


class FactorTwo(WrongSign):
    """x², without its 2."""

    def vjp_x(ctx, g, x):
        return x * g


class Transposed(Op):
    """A matrix product whose gradient forgets a transpose."""

    def forward(a, b):
        return a @ b

    def vjp_a(ctx, g, b):
        return g @ b

    def vjp_b(ctx, g, a):
        return a.mT @ g


class MissingSum(Op):
    """x + y, broadcast forward but not summed backward."""

    def forward(x, y):
        return x + y

    def vjp_x(ctx, g):
        return g

    def vjp_y(ctx, g):
        return g * 1.0


class FrozenSlope(Op):
    """x³ whose rule hides its slope from the second derivative."""

    def forward(x):
        return x**3

    def vjp_x(ctx, g, x):
        return g * 3.0 * np.square(getattr(x, "_data", x))

    def jvp_x(ctx, t, x):
        return 3.0 * x * x * t


class WrongTangent(Op):
    """sin, with a forward-mode rule of its own opinion."""

    def forward(x):
        return np.sin(x)

    def vjp_x(ctx, g, x):
        return g * bl.cos(x)

    def jvp_x(ctx, t, x):
        return t * bl.sin(x)


class Widens(Op):
    """2x, with a double-precision constant that does not yield."""

    def forward(x):
        return x * np.float64(2.0)

    def vjp_x(ctx, g):
        return g * np.float64(2.0)


class WritesToInput(Op):
    """x, but sorted where it lies."""

    def forward(x):
        x[...] = np.sort(x, axis=None).reshape(x.shape)
        return x.copy()

    def vjp_x(ctx, g):
        return g


class HandsOutSaved(Op):
    """x · y for upstream gradients of 1: the rule gives the saved value itself."""

    def forward(x, y):
        return x * y

    def vjp_x(ctx, g, y):
        return y

    def vjp_y(ctx, g, x):
        return g * x


class SharesGradients(Op):
    """x + y whose rules give both inputs the same new array."""

    def forward(x, y):
        return x + y

    def vjp(ctx, g):
        both = g * 1.0
        return [both, both]


class AssumesContiguous(Op):
    """2x, read from memory as if every array were contiguous."""

    def forward(x):
        return 2.0 * np.lib.stride_tricks.as_strided(x, x.shape, np.empty(x.shape).strides)

    def vjp_x(ctx, g):
        return g * 2.0


class SwallowsNaN(Op):
    """max(x, 0) for which NaN is 0."""

    def forward(x):
        return np.fmax(x, 0.0)

    def vjp_x(ctx, g, x):
        return g * (x > 0)


MISTAKES = [
    (properties.check_gradient, WrongSign, "central differences"),
    (properties.check_gradient, FactorTwo, "central differences"),
    (properties.check_gradient, Transposed, "central differences"),
    (properties.check_gradient, MissingSum, "shape|index|entry|dimension"),
    (properties.check_shapes, MissingSum, "gets a gradient of shape"),
    (properties.check_second_order, FrozenSlope, "second derivative|does not depend"),
    (properties.check_second_order, FactorTwo, "gradient of the gradient"),
    (properties.check_adjoint, WrongSign, "forward mode"),
    (properties.check_adjoint, WrongTangent, "forward mode"),
    (properties.check_adjoint, Transposed, "forward mode"),
    (properties.check_dtype, Widens, "float64 out|hands float64"),
    (properties.check_inputs_untouched, WritesToInput, "written to"),
    (properties.check_fresh, HandsOutSaved, "saved value"),
    (properties.check_fresh, SharesGradients, "another one"),
    (properties.check_layouts, AssumesContiguous, "inputs"),
    (properties.check_nan, SwallowsNaN, "NaN"),
]


def broken(definition: type[Op]) -> tuple[Operation, Sample]:
    """A deliberately wrong operation as if it were registered, and a sample for it."""
    rng = np.random.default_rng(7)
    shapes = {Transposed: [(3, 3), (3, 3)], MissingSum: [(3, 4), (4,)]}.get(
        definition, [(3, 4)] * len(definition.inputs)
    )
    operation = Operation(definition.name, lambda *inputs: apply(definition, inputs, NOTHING), definition, {})
    return operation, Sample(*[rng.uniform(0.5, 1.5, size=shape) for shape in shapes])


@pytest.mark.parametrize(
    ("check", "definition", "complaint"), MISTAKES, ids=[f"{c.__name__}-{d.__name__}" for c, d, _ in MISTAKES]
)
def test_the_checks_notice_a_wrong_rule(check, definition, complaint) -> None:
    options = (True,) if check is properties.check_nan else ()
    with pytest.raises((AssertionError, IndexError, ValueError, RuntimeError), match=complaint):
        check(*broken(definition), *options)


def test_the_checks_notice_a_kink() -> None:
    with pytest.raises(AssertionError, match="do not settle"):
        properties.differences(lambda t: np.sqrt(np.abs(t) + t), 1.0)


def test_the_checks_notice_arrays_that_become_tensors() -> None:
    operation = Operation("wraps", lambda x: bl.tensor(x) * 2.0, None, {})
    with pytest.raises(AssertionError, match="tensor out"):
        properties.check_arrays(operation, Sample(np.ones(3)))


def test_the_checks_notice_a_result_cut_off_from_its_inputs() -> None:
    operation = Operation("cut", lambda x: (x * 2.0).detach() if isinstance(x, bl.Tensor) else x * 2.0, None, {})
    with pytest.raises(AssertionError, match="cut off"):
        properties.check_gradient(operation, Sample(np.ones(3)))
