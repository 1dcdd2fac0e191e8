"""Every pass, alone and all together, leaves the meaning of a program as it was; native code has that meaning too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Training, batches

import backlit as bl
from backlit.compile.assemble.build import build
from backlit.compile.ir.build import Builder
from backlit.compile.ir.interpret import interpret
from backlit.compile.ir.program import Instruction, MalformedProgramError, Program, Value, verify
from backlit.compile.passes.common_subexpressions import without_repetitions
from backlit.compile.passes.dead_code import without_dead_code
from backlit.compile.passes.pipeline import PASSES, optimised
from backlit.compile.passes.simplify import simplified
from backlit.compile.runtime.executable import Executable
from backlit.compile.trace.capture import Capture, capture

FLOAT = np.dtype(np.float64)


def perceptron() -> Program:
    training = Training((3, 5, 4), bl.nn.ReLU, bl.nn.CrossEntropyLoss, dtype=np.float64)
    ((x, y),) = batches(1, 6, 3, 4, np.float64, classes=True)
    return captured(training.step, x, y)


def convolution() -> Program:
    net = bl.nn.Sequential(
        *(bl.nn.Conv2d(1, 3, 3, dtype=np.float64), bl.nn.ReLU(), bl.nn.MaxPool2d(2), bl.nn.Flatten()),
        bl.nn.Linear(3 * 2 * 2, 2, dtype=np.float64),
    )
    optimizer = bl.optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return captured(step, bl.tensor(np.random.default_rng(0).normal(size=(2, 1, 6, 6))))


def block() -> Program:
    norm, linear = bl.nn.LayerNorm(4, dtype=np.float64), bl.nn.Linear(4, 12, dtype=np.float64)

    def gradients(x: Any) -> Any:
        q, k, v = (part.reshape(2, 3, 2, 2).transpose(1, 2) for part in linear(norm(x)).split(4, dim=2))
        out = bl.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return bl.autograd.grad(bl.nn.functional.gelu(out).sum(), [*norm.parameters(), *linear.parameters()])

    return captured(gradients, bl.tensor(np.random.default_rng(0).normal(size=(2, 3, 4))))


def captured(function: Callable[..., Any], *args: Any) -> Program:
    _, seen = capture(function, args, {}, True, True)
    assert isinstance(seen, Capture), seen
    return seen.program


def arrays_for(program: Program) -> list[Any]:
    rng = np.random.default_rng(7)
    return [
        np.asarray(rng.uniform(0.1, 1.0, v.shape), v.dtype) if v.kind == "f" else rng.integers(0, 4, v.shape)
        for v in program.inputs
    ]


def assert_alike(program: Program, changed: Program) -> None:
    arrays = arrays_for(program)
    verify(changed)
    for a, b in zip(*[flat(interpret(p, arrays)) for p in (program, changed)], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def flat(found: tuple[list[Any], list[tuple[int, Any]]]) -> list[Any]:
    outputs, writes = found
    return [*outputs, *[array for _, array in writes]]


@pytest.mark.parametrize("make", [perceptron, convolution, block])
def test_passes_keep_the_meaning(make: Callable[[], Program]) -> None:
    program = make()
    for run in PASSES:
        assert_alike(program, run(program))
    shorter = optimised(program)
    assert_alike(program, shorter)
    assert len(shorter.body) < len(program.body)


def native(program: Program) -> tuple[list[Any], list[tuple[int, Any]]]:
    """A program's results by native code, in an arena whose surroundings are watched."""
    executable = Executable(build(program, {}))
    around = executable.surround(0xAB)
    arrays = [a.copy() for a in arrays_for(program)]
    for i, array in enumerate(arrays):
        executable.bind(i, array)
    outputs = executable.outputs()
    assert outputs is not None
    assert np.all(around == 0xAB), "something wrote outside the arena"
    position = {value: i for i, value in enumerate(program.inputs)}
    return outputs, [(position[t], arrays[position[t]]) for t, _ in program.writes]


@pytest.mark.parametrize("make", [perceptron, convolution, block])
def test_native_code_has_the_meaning(make: Callable[[], Program]) -> None:
    program = make()
    for a, b in zip(flat(interpret(program, arrays_for(program))), flat(native(program)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


# -- random programs ------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([1, 2, 3, 7, 8, 9, 16, 17, 33])


@st.composite
def programs(draw: Any) -> Program:
    """Elementwise functions, reductions, views and products of one or two inputs."""
    b, rows, columns = Builder(), draw(SIZES), draw(SIZES)
    inputs = [Value((rows, columns), FLOAT, "x"), Value((columns,), FLOAT, "y")]
    values = list(inputs)
    for _ in range(draw(st.integers(2, 8))):
        values.append(_step(draw, b, values))
    outputs = draw(st.lists(st.sampled_from(values[2:]), min_size=1, max_size=3))
    writes = [(inputs[0], v) for v in values[2:] if v.shape == inputs[0].shape][-1:]
    return Program(inputs, b.body, outputs, writes if draw(st.booleans()) else ())


def _step(draw: Any, b: Builder, values: list[Value]) -> Value:
    x = draw(st.sampled_from(values))
    kind = draw(st.sampled_from(["unary", "binary", "reduce", "turn", "reshape", "product", "slice"]))
    if kind == "binary":
        fits = [v for v in values if v.shape == x.shape or v.ndim == 0 or (x.ndim and v.shape == x.shape[-1:])]
        return b.elementwise(draw(st.sampled_from(["add", "mul", "maximum", "gated"])), x, draw(st.sampled_from(fits)))
    if kind == "reduce" and x.ndim:
        axis = draw(st.sampled_from([None, 0, x.ndim - 1]))
        return b.reduce(draw(st.sampled_from(["sum", "max"])), x, axis, draw(st.booleans()))
    if kind == "turn" and x.ndim == 2:
        return b.permute(x, (1, 0))
    if kind == "reshape":
        return b.reshape(x, (x.size,))
    if kind == "slice" and x.ndim and x.shape[0] > 1:
        return b.slice(x, (x.shape[0] - 1, *[0] * (x.ndim - 1)), (-1, *[1] * (x.ndim - 1)), x.shape)
    if kind == "product" and x.ndim == 2:
        return b.matmul(b.permute(x, (1, 0)), x)
    return b.elementwise(draw(st.sampled_from(["tanh", "neg", "abs"])), x)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_random_programs_keep_their_meaning_through_the_passes(program: Program) -> None:
    assert_alike(program, optimised(program))


@settings(max_examples=12, deadline=None)
@given(programs())
def test_random_programs_have_their_meaning_as_native_code(program: Program) -> None:
    for a, b in zip(flat(interpret(program, arrays_for(program))), flat(native(program)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12 * max(1.0, float(np.abs(a).max(initial=0.0))))


def test_a_sum_over_rows_that_cannot_be_walked_as_one() -> None:
    b, x, y = Builder(), Value((5, 33), FLOAT), Value((33,), FLOAT)
    program = Program([x, y], b.body, [b.reduce("sum", b.elementwise("add", x, y)), b.reduce("max", x)])
    for wanted, found in zip(flat(interpret(program, arrays_for(program))), flat(native(program)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


# -- single passes --------------------------------------------------------------------------------------------------


def test_repetitions_are_computed_once() -> None:
    b, x = Builder(), Value((3,), FLOAT)
    y = b.elementwise("mul", b.elementwise("exp", x), b.elementwise("exp", x))
    assert [i.opcode for i in without_repetitions(Program([x], b.body, [y])).body] == ["exp", "mul"]


def test_kernels_of_the_forward_pass_serve_the_backward_pass() -> None:
    leaves = [type(i.params["leaf"]).__name__ for i in optimised(block()).body if i.opcode == "leaf"]
    assert sorted(leaves) == ["Attend", "AttendBack", "Normalize", "NormalizeBack"]


def test_what_nobody_needs_is_left_out() -> None:
    b, x = Builder(), Value((3,), FLOAT)
    b.elementwise("exp", x)
    y = b.elementwise("neg", x)
    assert [i.opcode for i in without_dead_code(Program([x], b.body, [y])).body] == ["neg"]


def test_views_of_views_and_products_with_one_disappear() -> None:
    b, x = Builder(), Value((3, 4), FLOAT)
    y = b.permute(b.permute(x, (1, 0)), (1, 0))
    z = b.elementwise("mul", y, 1.0)
    program = without_dead_code(simplified(Program([x], b.body, [z])))
    assert program.outputs == [x] and not program.body


def test_the_slope_of_an_activation_is_what_its_loop_keeps() -> None:
    linear, narrow = bl.nn.Linear(4, 6, dtype=np.float64), bl.nn.Linear(6, 2, dtype=np.float64)

    def gradients(x: Any) -> Any:
        y = narrow(bl.nn.functional.gelu(linear(x)))
        return bl.autograd.grad(y.square().sum(), [*linear.parameters(), *narrow.parameters()])

    built = build(captured(gradients, bl.tensor(np.ones((2, 3, 4)))), {})
    forward, back = (
        next(g for g in built.order.groups if any(m.opcode == name for m in g.members)) for name in ("erf", "gated")
    )
    kept = [m.result for m in forward.members if m.result in built.order.stored]
    assert len(kept) == 2 and {m.opcode for m in back.members} == {"matmul", "gated", "reduce"}


def test_what_takes_the_sum_of_a_loop_stays_behind_it() -> None:
    """Though the loop has everything else at hand, and fewer arrays would lie between."""
    b, x = Builder(), Value((4, 3), FLOAT)
    p, q = b.elementwise("exp", x), b.elementwise("tanh", x)
    total = b.reduce("sum", b.elementwise("add", p, q), 1, True)
    share = b.elementwise("div", b.elementwise("mul", p, q), total)
    centred = b.elementwise("sub", share, b.reduce("sum", share, 1, True))
    program = Program([x], b.body, [centred, b.elementwise("neg", share)])
    for wanted, found in zip(flat(interpret(program, arrays_for(program))), flat(native(program)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_layers_on_sequences_compute_in_the_products_rows() -> None:
    b, shapes = Builder(), [(2, 3, 4), (4, 5), (5,), (2, 3, 1)]
    x, w, bias, mask = (Value(shape, FLOAT) for shape in shapes)
    y = b.reshape(b.matmul(b.reshape(x, (6, 4)), w), (2, 3, 5))
    z = b.elementwise("tanh", b.elementwise("mul", b.elementwise("add", y, bias), mask))
    rows = b.reduce("sum", z, (0, 1))
    program = Program([x, w, bias, mask], b.body, [z, rows])
    changed = optimised(program)
    assert_alike(program, changed)
    found = {i.opcode: i.operands[0].shape for i in changed.body if i.opcode in ("add", "mul", "tanh", "reduce")}
    assert found == dict.fromkeys(("add", "mul", "tanh", "reduce"), (6, 5))


def test_what_differs_within_merged_dimensions_stays_apart() -> None:
    b, x, w, places = Builder(), Value((2, 3, 4), FLOAT), Value((4, 5), FLOAT), Value((3, 5), FLOAT)
    y = b.elementwise("add", b.reshape(b.matmul(b.reshape(x, (6, 4)), w), (2, 3, 5)), places)
    changed = optimised(Program([x, w, places], b.body, [y]))
    assert [i.result.shape for i in changed.body if i.opcode == "add"] == [(2, 3, 5)]


def test_malformed_programs_are_noticed() -> None:
    x, y = Value((2,), FLOAT), Value((2,), FLOAT)
    with pytest.raises(MalformedProgramError, match="not made before"):
        verify(Program([x], [Instruction("neg", (y,), (Value((2,), FLOAT),), {})], [x]))
    with pytest.raises(MalformedProgramError, match="cannot be written"):
        verify(Program([x], [], [x], [(y, x)]))
